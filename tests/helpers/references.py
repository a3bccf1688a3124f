"""Paths of the real data that some tests use; a test skips with the reason if its data is absent."""

import json
from functools import cache
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared/data"
FIXTURES = Path(__file__).parents[1] / "metrics/fixtures"


def need(*names):
    """Return the paths of files of the shared data, or skip the test."""
    paths = [DATA / name for name in names]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        pytest.skip(f"real data not here: {', '.join(missing)}")
    return paths if len(paths) > 1 else paths[0]


@cache
def flickr8k(split):
    """Captions of a split in the file's order, and the image of each."""
    rows = json.loads(need(f"flickr8k/captions_{split}.json").read_text())["annotations"]
    return [row["caption"] for row in rows], [row["image_id"] for row in rows]

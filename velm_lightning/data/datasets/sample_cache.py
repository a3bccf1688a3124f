"""Samples of large tables, kept in the cache folder as they were read, until their files or options change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from velm_lightning.data.datasets.packed import PackedRows
from velm_lightning.io.atomic import make_folder, new_folder
from velm_lightning.io.digests import state_of
from velm_lightning.io.files import read_json
from velm_lightning.types import InputError

SMALLEST = 10_000
"""Number of samples from which a table is kept; fewer are read in a second."""

_FORMAT = 1
_DESCRIPTION = "description.json"


class ReadSplits(NamedTuple):
    """The splits of a table as they were read.

    Attributes:
        rows: The samples of each split.
        remarks: What was found in the files.
    """

    rows: Mapping[str, PackedRows]
    remarks: Sequence[str]


def place_of(sources: Iterable[Path], options: object, folder: Path) -> Path | None:
    """Return the folder in which the samples of sources are kept; None if one changed just now.

    Args:
        sources: Files, or folders of files.
        options: Whatever else the samples depend on; its ``repr`` counts.
        folder: The cache folder.
    """
    try:
        files = [file for source in sources for file in (sorted(source.iterdir()) if source.is_dir() else [source])]
    except OSError:
        return None
    state = state_of(files)
    if state is None:
        return None
    depends_on = repr((version("velm-lightning"), _FORMAT, state, options)).encode("utf-8", "surrogateescape")
    return folder / "samples" / blake2b(depends_on, digest_size=16).hexdigest()


def kept(place: Path) -> ReadSplits | None:
    """Return the splits that are kept in a place; None if there are none, or a file of their images is gone."""
    if not (place / _DESCRIPTION).is_file():
        return None
    try:
        described: Any = read_json(place / _DESCRIPTION)
        rows = {name: _rows(place, name, list(map(Path, files))) for name, files in described["files"].items()}
    except (InputError, OSError, ValueError, TypeError, KeyError):
        return None  # it is read again
    return ReadSplits(rows, described["remarks"])


def keep(place: Path, splits: Mapping[str, PackedRows | InputError], remarks: Sequence[str]) -> None:
    """Write splits into a place if they are large, have no errors, and all their images are parts of files.

    Other images are files, whose names may come to lead elsewhere. A folder that cannot be written is ignored.
    """
    rows = {name: split for name, split in splits.items() if isinstance(split, PackedRows) and split.complete}
    if len(rows) < len(splits) or sum(map(len, rows.values())) < SMALLEST:
        return
    with suppress(InputError, OSError):
        make_folder(place.parent)
        with new_folder(place) as part:
            for name, split in rows.items():
                split.lines.tofile(part / f"{name}.jsonl")
                split.ends.astype("<i8").tofile(part / f"{name}.index")
            files = {name: list(map(str, split.files)) for name, split in rows.items()}
            (part / _DESCRIPTION).write_text(json.dumps({"files": files, "remarks": list(remarks)}), "utf-8")


def _rows(place: Path, name: str, files: Sequence[Path]) -> PackedRows:
    if not all(file.is_file() for file in files):
        raise ValueError("a file is gone")
    ends = np.fromfile(place / f"{name}.index", "<i8").astype(np.int64)
    if not len(ends):
        return PackedRows(np.empty(0, np.uint8), ends, files)
    lines = np.memmap(place / f"{name}.jsonl", np.uint8, "r")
    if (np.diff(ends, prepend=0) <= 0).any() or ends[-1] != len(lines):
        raise ValueError("the index does not fit")
    return PackedRows(lines, ends, files)

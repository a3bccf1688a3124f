"""Addresses of run folders, checkpoints and W&B runs, as seen from the page of a comparison."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from velm_lightning.compare.reading import RunFolder

Link = tuple[str, str]
"""A text and its address."""


def links(runs: Sequence[RunFolder], place: Path | None) -> list[tuple[str, list[Link]]]:
    """Return the links of each run, by its id.

    Args:
        runs: the runs.
        place: the folder of the page; None leaves out addresses of files, for a page that is published without them.
    """
    return [(run.ident, targets) for run in runs if (targets := [*_files(run, place), *_wandb(run)])]


def _files(run: RunFolder, place: Path | None) -> list[Link]:
    if place is None:
        return []
    checkpoints = sorted((run.folder / "checkpoints").glob("*.ckpt"))
    return [(path.name, _relative(path, place)) for path in (run.folder, *checkpoints)]


def _relative(path: Path, place: Path) -> str:
    """Return a relative address, which never starts with a scheme."""
    return quote(f"./{os.path.relpath(path.resolve(), place.resolve())}")


def _wandb(run: RunFolder) -> list[Link]:
    address = run.record.get("wandb")
    if not isinstance(address, str) or not address.startswith(("https://", "http://")):
        return []
    with suppress(ValueError):  # no address
        host = urlsplit(address).hostname or ""
        return [("W&B" if host == "wandb.ai" else f"W&B at {host}", address)]
    return []

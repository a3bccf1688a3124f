"""Samples of large tables, kept in the cache folder as they were read, until their files or options change."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from velm_lightning.data.datasets.located import FileDataset
from velm_lightning.data.datasets.packed import PackedRows
from velm_lightning.data.datasets.readers.saved import SAVED
from velm_lightning.io.atomic import make_folder, new_folder
from velm_lightning.io.digests import state_of
from velm_lightning.io.record_files import read_json
from velm_lightning.types import InputError

SMALLEST = 10_000
"""Number of samples from which a table is kept; fewer are read in a second."""

_DESCRIPTION = "description.json"


class ReadSplits(NamedTuple):
    """The splits of a table as they were read.

    Attributes:
        rows: The samples of each split.
        remarks: What was found in the files.
    """

    rows: Mapping[str, PackedRows]
    remarks: Sequence[str]


def place_of(sources: Sequence[Path], kind: type[FileDataset], options: object, folder: Path) -> Path | None:
    """Return the folder in which the samples of sources are kept; None if they cannot be recognised later.

    That is so if a file changed just now, or if the class is defined in no file, as in a notebook. Folders of images
    are not listed, because their samples are not kept.

    Args:
        sources: Files, or folders that ``datasets`` has saved.
        kind: The class that reads them, on whose code the samples depend.
        options: Whatever else the samples depend on; its ``repr`` counts.
        folder: The cache folder.
    """
    if any(source.is_dir() and not SAVED.recognises(source) for source in sources):
        return None
    try:
        files = [file for source in sources for file in (sorted(source.iterdir()) if source.is_dir() else [source])]
        code = _code_of(kind)
    except (OSError, TypeError):
        return None
    state = state_of(files)
    if state is None:
        return None
    depends_on = repr((code, state, options)).encode("utf-8", "surrogateescape")
    return folder / "samples" / blake2b(depends_on, digest_size=16).hexdigest()


@lru_cache(maxsize=64)
def _code_of(kind: type[FileDataset]) -> str:
    """Return a digest of the code by which a class reads files; the version is the same for an editable install."""
    package = Path(__file__).parents[2]
    files = [file for folder in ("data/datasets", "io") for file in (package / folder).rglob("*.py")]
    own = [Path(inspect.getfile(each)) for each in kind.__mro__ if issubclass(each, FileDataset)]
    digest = blake2b(digest_size=16)
    for file in [*sorted(files), *own]:
        digest.update(blake2b(file.read_bytes()).digest())
    return digest.hexdigest()


def kept(place: Path) -> ReadSplits | None:
    """Return the splits that are kept in a place; None if there are none, or a file of their images has changed."""
    if not (place / _DESCRIPTION).is_file():
        return None
    try:
        described: Any = read_json(place / _DESCRIPTION)
        rows = {name: _rows(place, name, split) for name, split in described["splits"].items()}
        return ReadSplits(rows, list(described["remarks"]))
    except (InputError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # it is read again


def keep(place: Path, splits: Mapping[str, PackedRows | InputError], remarks: Sequence[str]) -> None:
    """Write splits into a place if they are large, have no errors, and all their images are parts of files.

    Other images are files, whose names may come to lead elsewhere. A folder that cannot be written is ignored.
    """
    rows = {name: split for name, split in splits.items() if isinstance(split, PackedRows) and split.complete}
    if len(rows) < len(splits) or sum(map(len, rows.values())) < SMALLEST:
        return
    with suppress(InputError, OSError):
        make_folder(place.parent)
        if kept(place) is None:  # else another process has written it by now
            shutil.rmtree(place, ignore_errors=True)
        with new_folder(place) as part:
            described = {name: _write(part, name, split) for name, split in rows.items()}
            (part / _DESCRIPTION).write_text(json.dumps({"splits": described, "remarks": list(remarks)}), "utf-8")


def _write(folder: Path, name: str, split: PackedRows) -> dict[str, Any]:
    """Write a split, and return what is needed to recognise damage and changed images."""
    ends = split.ends.astype("<i8")
    split.lines.tofile(folder / f"{name}.jsonl")
    ends.tofile(folder / f"{name}.index")
    files = [[str(file), *_state(file)] for file in split.files]
    return {"files": files, "digest": _digest(split.lines, ends)}


def _rows(place: Path, name: str, described: Mapping[str, Any]) -> PackedRows:
    if any(_state(Path(file)) != state for file, *state in described["files"]):
        raise ValueError("a file has changed")
    files = [Path(file) for file, *_ in described["files"]]
    ends = np.fromfile(place / f"{name}.index", "<i8")
    lines = np.memmap(place / f"{name}.jsonl", np.uint8, "r") if len(ends) else np.empty(0, np.uint8)
    if _digest(lines, ends) != described["digest"]:
        raise ValueError("it is damaged")
    return PackedRows(lines, ends.astype(np.int64), files)


def _state(file: Path) -> list[int]:
    """Return the size and time of a file, of which the samples know at which bytes its images are."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _digest(*arrays: npt.NDArray[Any]) -> str:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

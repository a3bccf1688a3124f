"""The signature that all readers share, and the place of files that they derive."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.data.datasets.image_names import ImageNames
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import InputError


class Reading(NamedTuple):
    """The circumstances of a reading.

    Attributes:
        cache_dir: Folder of files that are derived from others, such as uncompressed tables.
        problems: If it is a list, errors of rows are appended to it and the rows are skipped.
        names: The rule by which names of images become files.
        shard: Name of the file if it is one of several, each of which may count its samples from 0.
    """

    cache_dir: Path
    problems: list[str] | None = None
    names: ImageNames = ImageNames()
    shard: str = ""


class Reader(NamedTuple):
    """A reader of one format.

    Attributes:
        name: Name of the format.
        recognises: Returns whether a file or folder has the format; reads at most its beginning.
        rows: Yields the rows of a file or folder, which are located for messages.
    """

    name: str
    recognises: Callable[[Path], bool]
    rows: Callable[[Path, Reading], Iterator[TableRow]]


def starts_with(path: Path, mark: bytes, offset: int = 0) -> bool:
    """Return whether a path is a file with ``mark`` at ``offset``."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(len(mark)) == mark
    except (OSError, ValueError):
        return False


def counted(text: str) -> list[str]:
    """Return the names that a range such as ``{000..009}`` stands for, or the name itself.

    Raises:
        InputError: The range is too long.
    """
    match = re.search(r"\{(\d{1,9})\.\.(\d{1,9})\}", text)
    if match is None:
        return [text]
    numbers = range(int(match[1]), int(match[2]) + 1)
    if len(numbers) > 10**6:
        raise InputError(f"{text}: stands for {len(numbers):,} files: correct the range")
    return [f"{text[: match.start()]}{number:0{len(match[1])}}{text[match.end() :]}" for number in numbers]


def derived_file(path: Path, folder: Path, suffix: str) -> Path:
    """Return the place of a file that is derived from another; it changes with that file's name, size and time."""
    stat = path.stat()
    name = blake2b(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    return folder / f"{path.stem}-{name.hexdigest()[:16]}{suffix}"


def arrow_module(name: str, path: Path) -> Any:
    """Import a module of pyarrow, an optional dependency.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{path}: Parquet and Arrow need pyarrow: pip install velm-lightning[parquet]") from error

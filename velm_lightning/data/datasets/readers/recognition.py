"""The readers in the order in which they are asked, and the splits of a folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from velm_lightning.data.datasets.readers.arrow import ARROW
from velm_lightning.data.datasets.readers.column_names import IMAGE_NAMES
from velm_lightning.data.datasets.readers.image_folder import IMAGE_FOLDER, METADATA
from velm_lightning.data.datasets.readers.parquet import PARQUET
from velm_lightning.data.datasets.readers.reading import Reader, Reading, counted
from velm_lightning.data.datasets.readers.saved import SAVED, split_names
from velm_lightning.data.datasets.readers.text_tables import TEXT_TABLES
from velm_lightning.data.datasets.readers.webdataset import WEBDATASET
from velm_lightning.data.images.folder import SUFFIXES, files_named
from velm_lightning.io.record_files import TableRow
from velm_lightning.io.tables import separator_of
from velm_lightning.types import InputError

READERS: tuple[Reader, ...] = (PARQUET, ARROW, WEBDATASET, SAVED, IMAGE_FOLDER, TEXT_TABLES)
"""Files by their first bytes, then folders by what is in them; what remains is a text."""

TABLES = (".parquet", ".arrow", ".feather", ".tar", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt")
"""Suffixes of tables that are found in a folder, in the order of preference."""

_SPLITS = {
    "train": r"train(ing)?",
    "val": r"val(id|idation)?|dev(elopment)?",
    "test": r"test(ing)?|eval(uation)?",
}


def reader_of(path: Path) -> Reader:
    """Return the first reader that recognises a file or folder.

    Raises:
        InputError: There is no such file or folder.
    """
    if not path.exists():
        raise InputError(f"{path}: cannot be read (no such file or folder): check the path")
    return next(reader for reader in READERS if reader.recognises(path))


def rows_of(sources: Iterable[Path], reading: Reading) -> Iterator[TableRow]:
    """Yield the rows of files, folders, and all files that patterns with ``*`` or ``{000..009}`` match.

    Raises:
        InputError: A file is missing or damaged.
    """
    files = [file for source in sources for file in expanded(source)]
    for file in files:
        yield from reader_of(file).rows(file, reading._replace(shard=file.stem if len(files) > 1 else ""))


def expanded(path: Path) -> list[Path]:
    """Return the files that a path stands for: those of a pattern, the tables in a folder, or the path itself.

    Raises:
        InputError: No file matches the pattern.
    """
    if path.is_dir():
        return (not SAVED.recognises(path) and _tables_in(path)) or [path]
    if path.exists() or not re.search(r"[*?\[{]", str(path)):
        return [path]
    files = [file for pattern in counted(str(path)) for file in _matching(Path(pattern))]
    if not files:
        raise InputError(f"{path}: no file matches this pattern: correct it")
    return files


def _matching(path: Path) -> list[Path]:
    if not re.search(r"[*?\[]", str(path)):
        return [path]
    start = Path(path.anchor or ".")
    return sorted(start.glob(str(path.relative_to(start))))


def splits_of(path: Path) -> dict[str, list[Path]]:
    """Return the files or folders of each split of a file or folder; one whole is the training split.

    The splits of a folder are tables or subfolders named ``train``, ``validation``, ``test`` or the like, also in a
    subfolder ``data``, as on the Hugging Face hub. Images without a table or classes are a test split.

    Raises:
        InputError: There is no such file or folder.
    """
    if not path.exists():
        files = expanded(path)
        reader_of(files[0])  # raises if there is no such file
        return {"train": files}
    if not path.is_dir() or SAVED.recognises(path):
        return {"train": [path]}
    folders = [path / name for name in split_names(path)] or _folders_in(path)
    tables = _tables_in(path)
    for items in (tables, folders):
        splits: dict[str, list[Path]] = {}
        for item in items:
            if split := split_of(item.name):
                splits.setdefault(split, []).append(item)
        if splits:
            return splits
    described = tables or folders or any((path / name).is_file() for name in METADATA)
    return {"train" if described else "test": tables or [path]}


def split_of(name: str) -> str | None:
    """Return the split that the name of a file or folder states, as ``train-00000-of-00002.parquet`` does."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((split for split, spelt in _SPLITS.items() if any(re.fullmatch(spelt, word) for word in words)), None)


def _folders_in(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith((".", "_")))


def _tables_in(folder: Path) -> list[Path]:
    """Return the tables of one format in a folder, else in a subfolder without images, such as ``data``.

    Tables whose names state a split are preferred. Descriptions of images (``metadata.csv``) and files in the subfolder
    of a split do not count.
    """
    formats = list(tables_by_format(folder).values())
    if formats:
        return next((tables for tables in formats if any(split_of(file.name) for file in tables)), formats[0])
    if (folder / "data").is_dir():
        return _tables_in(folder / "data")
    if files_named(folder, METADATA):
        return []
    for inner in (inner for inner in _folders_in(folder) if split_of(inner.name) is None):
        tables = next(iter(tables_by_format(inner).values()), [])
        if tables and not any(file.suffix.lower() in SUFFIXES for file in inner.iterdir()):
            return _tables_in(inner)
    return []


def tables_by_format(folder: Path) -> dict[str, list[Path]]:
    """Return the tables in a folder by their suffixes, in the order of preference."""
    named = (item for item in folder.iterdir() if item.suffix.lower() in TABLES and item.name not in METADATA)
    files = sorted(item for item in named if not item.name.startswith((".", "_")) and item.is_file())
    formats: dict[str, list[Path]] = {}
    for suffix in TABLES:
        tables = [file for file in files if file.suffix.lower() == suffix]
        if suffix == ".txt":
            tables = [file for file in tables if _names_images(file)]
        if tables:
            formats[suffix] = tables
    return formats


def unread_tables(folder: Path, read: Collection[Path]) -> list[Path]:
    """Return the tables in a folder that are not in ``read``: of another format, or of no split."""
    if not folder.is_dir() or not any(file.parent == folder for file in read):
        return []
    return [file for tables in tables_by_format(folder).values() for file in tables if file not in read]


def _names_images(file: Path) -> bool:
    """Return whether the first line of a text names a column of images, as Kaggle's ``captions.txt`` does."""
    with file.open("rb") as opened:
        line = opened.readline(4096).decode("utf-8-sig", "replace")
    cells = [cell.strip().strip('"') for cell in line.split(separator_of(line))]
    return len(cells) > 1 and any(cell in IMAGE_NAMES for cell in cells)

"""A table that ``datasets`` has saved to disk: a folder of Arrow files and the list of their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from velm_lightning.data.datasets.readers import arrow
from velm_lightning.data.datasets.readers.reading import Reader, Reading
from velm_lightning.io.files import inside
from velm_lightning.io.record_files import TableRow, read_json
from velm_lightning.types import InputError

_LIST, _SPLITS = "state.json", "dataset_dict.json"


def recognises(path: Path) -> bool:
    """Return whether a folder is one that ``Dataset.save_to_disk`` wrote."""
    return (path / _LIST).is_file()


def rows(path: Path, reading: Reading) -> Iterator[TableRow]:
    """Yield the rows of all files of the table in order.

    Raises:
        InputError: A file is missing or damaged.
    """
    state: Any = read_json(path / _LIST)
    try:
        names = [entry["filename"] for entry in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path / _LIST}: names no files: save the table again with save_to_disk") from error
    for name in names:
        yield from arrow.rows(inside(path, name, follow=True), reading)


def split_names(folder: Path) -> list[str]:
    """Return the names of the splits that ``DatasetDict.save_to_disk`` wrote, which are those of subfolders."""
    if not (folder / _SPLITS).is_file():
        return []
    listed: Any = read_json(folder / _SPLITS)
    names = listed.get("splits") if isinstance(listed, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{folder / _SPLITS}: has no list `splits`: save the tables again with save_to_disk")
    for name in names:
        inside(folder, name, follow=True)
    return names


SAVED = Reader("a folder of save_to_disk", recognises, rows)

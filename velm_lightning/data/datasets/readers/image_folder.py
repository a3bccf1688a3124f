"""A folder of images: with a table ``metadata.csv`` or ``metadata.jsonl``, or with one subfolder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from velm_lightning.data.datasets.image_names import ImageNames
from velm_lightning.data.datasets.readers import parquet
from velm_lightning.data.datasets.readers.reading import Reader, Reading
from velm_lightning.data.images.folder import files_named, picture_files
from velm_lightning.io.files import fault
from velm_lightning.io.record_files import TableRow, read_rows
from velm_lightning.types import InputError

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Names of the tables."""

_NAMES = ("file_name", "file_names")


def recognises(path: Path) -> bool:
    """Return whether a path is a folder."""
    return path.is_dir()


def rows(path: Path, reading: Reading) -> Iterator[TableRow]:
    """Yield the rows of the folder's tables, or one row per image with the name of its subfolder as label.

    Raises:
        InputError: The folder holds no images, or a table names one that leads out of the folder.
    """
    tables = files_named(path, METADATA)
    if tables:
        for table in tables:
            yield from _table(table, reading)
        return
    files = picture_files(path)
    if not files:
        raise InputError(f"{path}: holds no images and no table: name a folder of images, or a table of samples")
    labelled = any(file.parent != path for file in files)
    for file in files:
        try:
            if labelled and file.parent == path:
                raise InputError(
                    f"{file}: is in no folder of a class, as others are: move it into one, or add metadata.csv"
                )
            image = reading.names.file(path, file.relative_to(path).as_posix(), str(path))
            yield TableRow(str(file), {"image": image} | ({"label": file.parent.name} if labelled else {}))
        except InputError as error:
            fault(error, reading.problems)


def _table(table: Path, reading: Reading) -> Iterator[TableRow]:
    parsed = parquet.rows(table, reading) if table.suffix == ".parquet" else read_rows(table, reading.problems)
    for row in parsed:
        try:
            yield row._replace(values=_with_image(row, table, reading.names))
        except InputError as error:
            fault(error, reading.problems)


def _with_image(row: TableRow, table: Path, image_names: ImageNames) -> dict[str, object]:
    """Return the values with the file of the image, whose name is relative to the table's folder."""
    column = next((name for name in _NAMES if name in row.values), None)
    if column is None:
        raise InputError(f"{row.where}: no column 'file_name' in {', '.join(row.values)}: name the column so")
    names = row.values[column]
    listed = names if isinstance(names, list) else [names]
    files = [image_names.file(table.parent, name, row.where) for name in listed]
    others = {name: value for name, value in row.values.items() if name != column}
    return {"image": files if names is listed else files[0]} | others


IMAGE_FOLDER = Reader("a folder of images", recognises, rows)

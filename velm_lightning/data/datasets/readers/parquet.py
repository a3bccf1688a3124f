"""Parquet tables, as the Hugging Face hub serves them, also with the bytes of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from velm_lightning.data.datasets.readers.arrow import copied_rows, is_image_type, plain_rows, uncompressed
from velm_lightning.data.datasets.readers.reading import Reader, Reading, arrow_module, starts_with
from velm_lightning.io.files import show
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import InputError

_BATCH = 256


def recognises(path: Path) -> bool:
    """Return whether a file is a Parquet table."""
    return starts_with(path, b"PAR1")


def rows(path: Path, reading: Reading) -> Iterator[TableRow]:
    """Yield the rows of a Parquet table; one with images is first written uncompressed into the cache folder.

    Images are compressed in Parquet, and cannot be read one by one in any order.

    Raises:
        InputError: The file is damaged, or pyarrow is missing.
    """
    parquet = arrow_module("pyarrow.parquet", path)
    try:
        with parquet.ParquetFile(path) as table:
            schema, batches = table.schema_arrow, table.iter_batches(_BATCH)
            if not any(is_image_type(kind) for kind in schema.types):
                yield from plain_rows(path, schema, batches)
                return
            copy = uncompressed(path, reading.cache_dir, schema, batches)
        yield from copied_rows(path, copy)
    except InputError:
        raise
    except Exception as error:  # of pyarrow, and of the types of Python that its values become
        raise InputError(f"{path}: not a Parquet table that can be read ({show(str(error))}): replace it") from error


PARQUET = Reader("a Parquet table", recognises, rows)

"""Tables of text: CSV and TSV with any separator, JSON lines and JSON lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from velm_lightning.data.datasets.readers.reading import Reader, Reading
from velm_lightning.io.record_files import TableRow, read_rows


def recognises(path: Path) -> bool:
    """Return True: what no other reader recognises is a text."""
    return True


def rows(path: Path, reading: Reading) -> Iterator[TableRow]:
    """Yield the rows of the table."""
    yield from read_rows(path, reading.problems)


TEXT_TABLES = Reader("a table of text", recognises, rows)

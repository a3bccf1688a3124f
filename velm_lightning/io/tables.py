"""Reading tables of text (CSV, TSV and others), whose separator and quoting are found by content."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from velm_lightning.errors import InputError

_SEPARATORS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
_LONGEST_CELL = 2**31 - 1  # the limit of Python's own module is 128 KiB

Cells = dict[str, str]
"""The cells of a row by the names of their columns."""


def table_rows(text: str, path: Path) -> Iterator[tuple[str, Cells] | InputError]:
    """Yield the location and the cells of each row of a table, or the error of a row.

    The first line names the columns; those without a name, such as the index that pandas writes, are ignored. The
    separator is the one that divides the first line into most columns. In a table with tabs, quotes are ordinary
    characters unless they enclose whole cells throughout.

    Args:
        text: The text of the file.
        path: The file, for messages and for the separator of a table with one column.
    """
    separator = separator_of(text, "\t" if path.suffix.lower() == ".tsv" else ",")
    plain = separator == "\t" and '"' in text and any(map(_is_error, _rows(text, path, separator, csv.QUOTE_MINIMAL)))
    yield from _rows(text, path, separator, csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL)


def separator_of(text: str, default: str = ",") -> str:
    """Return the separator that divides the first line into most columns, or the default if none does."""
    first = text.lstrip("\r\n").partition("\n")[0]
    return max((default, *_SEPARATORS), key=lambda separator: len(_cells(first, separator)))


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _is_error(row: object) -> bool:
    return isinstance(row, InputError)


def _rows(text: str, path: Path, separator: str, quoting: int) -> Iterator[tuple[str, Cells] | InputError]:
    csv.field_size_limit(_LONGEST_CELL)
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=separator, strict=True, quoting=quoting)  # type: ignore[arg-type]
    names: list[str] = []
    line = 1
    try:
        for cells in reader:
            place, line = f"{path}:{line}", reader.line_num + 1
            if not cells:
                continue
            if names:
                yield _row(names, cells, place, separator)
                continue
            names = [name.strip() for name in cells]
            named = [name for name in names if name]
            if not named or len(set(named)) < len(named):
                first_line = repr(cells)[:80]
                yield InputError(f"{place}: column names {first_line} are all empty or repeated: name each column once")
                return
    except csv.Error as error:
        yield InputError(f"{path}:{line}: not a table ({error}): is a quote left open?")


def _row(names: list[str], cells: list[str], place: str, separator: str) -> tuple[str, Cells] | InputError:
    """Return the cells under the columns with a name; surplus cells must be empty."""
    if len(cells) < len(names) or any(cells[len(names) :]):
        fix = f"quote texts with {_SEPARATORS[separator]}" if len(cells) > len(names) else "write the missing ones"
        return InputError(f"{place}: {len(cells)} cells under {len(names)} columns: {fix}")
    return place, {name: cell for name, cell in zip(names, cells, strict=False) if name}

"""Reads the first sheet of an ``.xlsx`` file with the standard library: the cells' values, without formats."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from velm_lightning.io.record_files import TableRow
from velm_lightning.types import InputError

_SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LARGEST = 2**28  # bytes of a part; an archive of some kilobytes can claim any size
_MOST_ELEMENTS = 2**18  # of a row or a text: 16,384 columns of some elements each
_FAULTS = (OSError, KeyError, ValueError, IndexError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_spreadsheet(path: Path) -> Iterator[TableRow]:
    """Yield the rows of a table whose first row names the columns; an empty cell is missing.

    Raises:
        InputError: The file is no spreadsheet, or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            texts = _items(archive, "xl/sharedStrings.xml", "si") if "xl/sharedStrings.xml" in names else ()
            shared = [_text(item) for item in texts]
            rows = _rows(_items(archive, "xl/worksheets/sheet1.xml", "row"), shared)
            head: dict[int, str] = {}
            for number, cells in rows:
                if not head:
                    head = cells
                elif cells:
                    values = {head[place]: value for place, value in cells.items() if place in head}
                    yield TableRow(f"{path}: row {number}", values, written=True)
    except (*_FAULTS, ElementTree.ParseError) as error:
        raise InputError(f"{path}: is not an .xlsx file that can be read ({error}): save it as .tsv") from error


def _items(archive: zipfile.ZipFile, name: str, tag: str) -> Iterator[ElementTree.Element]:
    """Yield the elements of a part that have a tag, of which only one is in memory at a time."""
    if archive.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} has more than {_LARGEST:,} bytes")
    elements = 0
    with archive.open(name) as part:
        opened: list[ElementTree.Element] = []
        for event, element in ElementTree.iterparse(part, ("start", "end")):
            if event == "start":
                opened.append(element)
                elements += 1
            else:
                opened.pop()
                if element.tag == f"{_SPACE}{tag}":
                    yield element
                    elements = len(opened)
                    opened[-1].clear()
            if elements > _MOST_ELEMENTS:
                raise ValueError(f"a part of {name} has more than {_MOST_ELEMENTS:,} elements")


def _text(item: ElementTree.Element) -> str:
    """Return the text of a string item: its own, or that of its runs, without phonetic hints."""
    texts = [item.find(f"{_SPACE}t"), *(run.find(f"{_SPACE}t") for run in item.findall(f"{_SPACE}r"))]
    return "".join(text.text or "" for text in texts if text is not None)


def _rows(rows: Iterator[ElementTree.Element], shared: list[str]) -> Iterator[tuple[str, dict[int, str]]]:
    for row in rows:
        cells: dict[int, str] = {}
        for place, cell in enumerate(row.findall(f"{_SPACE}c")):
            value = _value(cell, shared)
            if value is not None:
                cells[_column(cell.get("r"), place)] = value
        yield row.get("r", "?"), cells


def _value(cell: ElementTree.Element, shared: list[str]) -> str | None:
    kind = cell.get("t")
    if kind == "inlineStr":
        item = cell.find(f"{_SPACE}is")
        return None if item is None else _text(item)
    value = cell.findtext(f"{_SPACE}v")
    if value is None or kind == "e":
        return None
    if kind == "s":
        return shared[int(value)]
    return re.sub(r"^(-?\d+)\.0$", r"\1", value)  # 3.0 is the index 3


def _column(reference: str | None, place: int) -> int:
    """Return the number of a column from a reference such as ``AB7``."""
    letters = re.match(r"[A-Z]{1,3}(?![A-Z])", reference or "")
    if letters is None:
        return place
    number = 0
    for letter in letters[0]:
        number = 26 * number + ord(letter) - 64
    return number - 1

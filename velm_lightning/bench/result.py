"""The tables that a benchmark returns: printed, as JSON, and as Markdown, which is made from the JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from velm_lightning.bench.interval import Interval, number
from velm_lightning.bench.machine import describe, machine
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.terminal import Console, Table

Cell = str | float | Interval | None
"""A cell; None means that there is no such figure."""


class Result:
    """A table of figures with a title, and notes below it.

    Args:
        title: what was measured, with sizes and device.
        columns: names of the columns.
    """

    def __init__(self, title: str, columns: Sequence[str] = ()) -> None:
        self.title, self.columns = title, list(columns)
        self.rows: list[list[Cell]] = []
        self.notes: list[str] = []
        self._sections: set[int] = set()

    def add_column(self, name: str, **_: Any) -> None:
        """Add a column, as rich tables do; figures are always aligned to the right."""
        self.columns.append(name)

    def add_row(self, *cells: Cell) -> None:
        """Add a row, which may be shorter than the columns."""
        self.rows.append([*cells, *[None] * (len(self.columns) - len(cells))])

    def add_section(self) -> None:
        """Draw a line below the last row."""
        self._sections.add(len(self.rows))

    def print(self) -> None:
        """Print the table and its notes."""
        table = Table(title=self.title)
        for index, name in enumerate(self.columns):
            table.add_column(name, justify="right" if index else "left")
        for index, row in enumerate(self.rows, 1):
            table.add_row(*map(_text, row), end_section=index in self._sections)
        console = Console()
        console.print(table)
        for note in self.notes:
            console.print(note, markup=False, highlight=False)

    def to_record(self) -> dict[str, Any]:
        """Return the table for JSON; an interval becomes an object with its median, ends and number of values."""
        rows = [
            {
                name or "name": cell._asdict() if isinstance(cell, Interval) else cell
                for name, cell in zip(self.columns, row, strict=True)
            }
            for row in self.rows
        ]
        return {"title": self.title, "rows": rows, "notes": self.notes}


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return number(cell) if isinstance(cell, int | float) else str(cell)


def repeat_line(command: str) -> str:
    """Return the line that says how the figures are repeated."""
    return f"repeat with: {command}"


def write(path: Path, command: str, results: Sequence[Result]) -> None:
    """Write results as JSON to ``path``, and as Markdown next to it, with date, machine, versions and command.

    Raises:
        InputError: a file cannot be written.
    """
    date, tables = datetime.now(UTC).isoformat(timespec="seconds"), [result.to_record() for result in results]
    record = {"command": command, "date": date, "machine": machine(), "tables": tables}
    write_atomic(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_atomic(path.with_suffix(".md"), page(record))


def page(record: dict[str, Any]) -> str:
    """Return the Markdown page of a JSON file that ``write`` has written."""
    parts = [part for table in record["tables"] for part in (f"### {table['title']}", _grid(table), *table["notes"])]
    day = record["date"].partition("T")[0]
    return "\n\n".join([*parts, f"{day}, {describe(record['machine'])}.", repeat_line(f"`{record['command']}`")]) + "\n"


def _grid(table: dict[str, Any]) -> str:
    """Return the rows of a table of the JSON file as a Markdown table."""
    columns = list(table["rows"][0]) if table["rows"] else []
    cells = [
        [_text(Interval(**cell) if isinstance(cell, dict) else cell) for cell in row.values()] for row in table["rows"]
    ]
    names = ["" if name == "name" else name for name in columns]
    lines = [names, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)

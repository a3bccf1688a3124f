"""A table of text cells, and how a terminal shows it."""

from __future__ import annotations

from typing import NamedTuple

from velm_lightning.io.terminal import Console, Table, Text


class Sheet(NamedTuple):
    """A table of text cells.

    Attributes:
        title: the title.
        head: names of the columns.
        rows: the cells.
        words: number of leading columns that contain text; the others contain numbers.
        caption: how to read the table: the family of its claims and the kind of its intervals.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1
    caption: str = ""


def print_sheet(whole: Sheet, console: Console) -> None:
    """Print a table, in several parts if it is wider than the terminal, and its caption."""
    for sheet in narrow(whole, console.width):
        table = Table(title=sheet.title, title_justify="left")
        for place, name in enumerate(sheet.head):
            table.add_column(name, justify="left" if place < sheet.words else "right", overflow="fold")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
    if whole.caption:
        console.print(Text(whole.caption, style="dim"))


WORDS = 26
"""Width from which the text of a leading column is folded if a table is too wide."""


def narrow(sheet: Sheet, width: int) -> list[Sheet]:
    """Return a sheet as sheets that fit a terminal: each holds the leading columns and some of the others.

    Example:
        >>> sheet = Sheet("t", ["method", "a", "b"], [["late", "0.1234", "0.5678"]])
        >>> [part.head for part in narrow(sheet, 22)]
        [['method', 'a'], ['method', 'b']]
    """
    sizes = [max(map(len, column)) + 3 for column in zip(sheet.head, *sheet.rows, strict=True)]
    leading = [min(size, WORDS + 3) for size in sizes[: sheet.words]]
    groups: list[list[int]] = [[]]
    for place in range(sheet.words, len(sizes)):
        if groups[-1] and 1 + sum(leading) + sum(sizes[other] for other in [*groups[-1], place]) > width:
            groups.append([])
        groups[-1].append(place)
    parts = []
    for group in groups:
        columns = [*range(sheet.words), *group]
        rows = [[row[place] for place in columns] for row in sheet.rows]
        parts.append(sheet._replace(head=[sheet.head[place] for place in columns], rows=rows, caption=""))
    return [*parts[:-1], parts[-1]._replace(caption=sheet.caption)]

"""The rows of files or of memory, which are read one by one, as often as needed, and are not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from velm_lightning.io.record_files import TableRow


class RowSource:
    """Rows that can be read any number of times.

    Args:
        read: Returns the rows; errors of rows are appended to its argument unless that is None.
        problems: If given, the errors of rows are appended to it, once, and the rows are skipped.

    Example:
        >>> rows = RowSource(lambda problems: iter([TableRow("a.csv:2", {"text": "yes", "n": 1})]))
        >>> list(rows.columns), rows.first.where
        (['text', 'n'], 'a.csv:2')
    """

    def __init__(
        self, read: Callable[[list[str] | None], Iterator[TableRow]], problems: list[str] | None = None
    ) -> None:
        self._read, self._problems = read, problems

    def __iter__(self) -> Iterator[TableRow]:
        _ = self.columns  # which reads all rows, and reports their errors, before any is used
        yield from self._read(None if self._problems is None else [])

    @property
    def columns(self) -> dict[str, None]:
        """The names of the columns of all rows, in the order in which they occur."""
        return self._summary[1]

    @property
    def first(self) -> TableRow | None:
        """The first row; None if there are no rows."""
        return self._summary[0]

    @cached_property
    def _summary(self) -> tuple[TableRow | None, dict[str, None]]:
        first, columns, before = None, dict[str, None](), None
        for row in self._read(self._problems):
            first = first or row
            names = row.values.keys()
            if names != before:
                columns |= dict.fromkeys(names)
                before = names
        return first, columns

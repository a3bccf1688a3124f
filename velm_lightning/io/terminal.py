"""Printing to a terminal: a string is always text of a user, never rich markup, and cannot control the terminal.

``Console``, ``Table`` and ``Text`` are those of rich with this rule; the rest of the package imports no others.
"""

from __future__ import annotations

from typing import Any

import rich.console
import rich.table
import rich.text
from typing_extensions import override

from velm_lightning.io.console import printable


class Text(rich.text.Text):
    r"""A text in one style; control characters and unpaired surrogates become U+FFFD.

    Args:
        text: The text.
        style: The style, such as ``bold red``.

    Example:
        >>> Text("[/b] \x1b[2J").plain == "[/b] \ufffd[2J"
        True
    """

    def __init__(self, text: str = "", style: str = "") -> None:
        super().__init__(printable(text), style)


class Table(rich.table.Table):
    """A table whose title, column names and cells are printed as they are written.

    Args:
        *heads: Names of the columns.
        title: The title.
        caption: The caption.
        **options: Further options of ``rich.table.Table``.
    """

    def __init__(self, *heads: str, title: str = "", caption: str = "", **options: Any) -> None:
        texts: dict[str, Any] = {"title": Text(title) if title else None, "caption": Text(caption) if caption else None}
        super().__init__(*heads, **texts, **options)

    @override
    def add_column(self, header: Any = "", *rest: Any, **options: Any) -> None:
        super().add_column(_as_text(header), *rest, **options)

    @override
    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*map(_as_text, cells), **options)


class Console(rich.console.Console):
    """A console that prints strings as they are written."""

    @override
    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*map(_as_text, objects), **options)


def _as_text(value: Any) -> Any:
    return Text(value) if isinstance(value, str) else value

"""Prints texts, and the messages of the package's loggers, to a terminal without obeying what they contain."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from typing import Any

# Control characters other than tab and line feed, line separators, marks that reverse the order, lone surrogates.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text in which control characters and unpaired surrogates are U+FFFD.

    Names and texts from files of others could otherwise move the cursor, set the title, or fill the clipboard.

    Example:
        >>> printable("\x1b[2J") == "\ufffd[2J"
        True
    """
    return _HARMFUL.sub("\ufffd", text)


def echo(*values: Any, file: Any = None, flush: bool = False) -> None:
    """Print values as ``print`` does, but without control characters; the package uses no other function.

    Args:
        values: The values.
        file: The stream; None means the current standard output.
        flush: Whether the stream is flushed.
    """
    print(*(printable(str(value)) for value in values), file=file, flush=flush)


def command(*words: object) -> str:
    """Return a command for the user to copy: words that a shell would interpret are quoted.

    Args:
        words: The words; the names in them may come from files of others.

    Example:
        >>> command("velm", "fit", "my data.yaml")
        "velm fit 'my data.yaml'"
    """
    return shlex.join(map(str, words))


def span(seconds: float) -> str:
    """Return a time span to the second, minute or tenth of an hour.

    Example:
        >>> span(59), span(150), span(5400)
        ('59 s', '2.5 min', '1.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


class Console(logging.Handler):
    """Prints a message as it is, without time or level, to the stream that is current when it is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message; a closed output raises, as for ``print``."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        echo(record.getMessage(), file=stream, flush=True)


def log_to_console() -> None:
    """Print what the package logs, unless the program has set up the logger ``velm_lightning`` itself.

    Example:
        >>> log_to_console()
        >>> logging.getLogger("velm_lightning.example").info("3 epochs")
        3 epochs
    """
    logger = logging.getLogger("velm_lightning")
    if not logger.handlers:
        logger.addHandler(Console())
        logger.setLevel(logging.INFO)

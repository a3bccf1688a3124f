"""Prints the messages of the package's loggers: information to standard output, warnings to standard error."""

from __future__ import annotations

import logging
import sys


class Console(logging.Handler):
    """Prints a message as it is, without time or level, to the stream that is current when it is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message; a closed output raises, as for ``print``."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(record.getMessage(), file=stream, flush=True)


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

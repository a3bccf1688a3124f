"""Filters warnings and messages of libraries that a user cannot act on."""

from __future__ import annotations

import logging
import re
import warnings

# Meant for other libraries, or about intended behaviour.
QUIET = (
    r".*isinstance\(treespec, LeafSpec\)",
    r".*does not have many workers",
    r".*is smaller than the logging interval",
    r".*Found .* module\(s\) in eval mode",
    r".*Checkpoint directory .* exists and is not empty",
    r".*your dataloader is not resumable",
    r".*could not find the monitored key",  # before the first evaluation; after it, an error
)
SILENT = re.compile(
    r"(GPU|TPU|HPU) available|.*litlogger|Restor(ing|ed) (all )?states|Loaded model weights|Seed set to|"
    r"Loading `\w+` to estimate|`Trainer\.fit` stopped: `max_(epochs|steps)|.*anonymous|`Trainer\(\w+=1\.0\)` was"
)
"""Messages of Lightning's loggers that are not printed."""


def quiet() -> None:
    """Ignore the warnings that match ``QUIET`` and the messages that match ``SILENT``."""
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            if is_printed not in handler.filters:
                handler.addFilter(is_printed)


def is_printed(record: logging.LogRecord) -> bool:
    """Return whether a message of a library is printed."""
    return not SILENT.match(record.getMessage())

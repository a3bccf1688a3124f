"""Filters warnings of libraries that a user cannot act on."""

from __future__ import annotations

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


def quiet() -> None:
    """Ignore the warnings that match ``QUIET``."""
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)

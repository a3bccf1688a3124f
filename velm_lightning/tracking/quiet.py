"""Warnings of libraries about which a user can do nothing."""

from __future__ import annotations

import warnings

# Said by libraries to each other, or about what is so by intent; a user can do nothing about them.
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
    """Leave out what a user can do nothing about."""
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)

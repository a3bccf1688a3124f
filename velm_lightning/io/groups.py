"""Groups of samples and their parts: samples of the group ``a / b`` are in the group ``a`` too."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

BELOW = " / "
"""The mark between the name of a group and that of a part of it."""


def enclosing(group: str) -> list[str]:
    """Return the names of a group and of the groups that it is a part of, the largest first; empty for no group.

    Example:
        >>> enclosing("text to image / colour")
        ['text to image', 'text to image / colour']
    """
    parts = group.split(BELOW)
    return [name for count in range(1, len(parts) + 1) if (name := BELOW.join(parts[:count]))]


def group_names(groups: Iterable[str]) -> list[str]:
    """Return the distinct names of the groups of samples and of the groups that they are parts of, sorted.

    A group whose samples are all in one of its parts is left out, so that no samples are counted or tested twice.

    Example:
        >>> group_names(["a / b", "a / c", "and / or", ""])
        ['a', 'a / b', 'a / c', 'and / or']
    """
    leaves = {group for group in groups if group}
    parts: dict[str, set[str]] = {}
    for leaf in leaves:
        for group, part in pairwise(enclosing(leaf)):
            parts.setdefault(group, set()).add(part)
    return sorted(leaves | {group for group, below in parts.items() if len(below) > 1})


def belongs(group: str, to: str) -> bool:
    """Return whether a group is another one or a part of it."""
    return group == to or group.startswith(to + BELOW)

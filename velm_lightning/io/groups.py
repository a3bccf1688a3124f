"""Groups of samples and their parts: samples of the group ``a / b`` are in the group ``a`` too."""

from __future__ import annotations

from collections.abc import Iterable

BELOW = " / "
"""The mark between the name of a group and that of a part of it."""


def enclosing(group: str) -> list[str]:
    """Return the names of a group and of the groups that it is a part of, the largest first; empty for no group.

    Example:
        >>> enclosing("text to image / colour")
        ['text to image', 'text to image / colour']
    """
    parts = group.split(BELOW) if group else []
    return [BELOW.join(parts[:count]) for count in range(1, len(parts) + 1)]


def group_names(groups: Iterable[str]) -> list[str]:
    """Return the distinct names of the groups of samples and of the groups that they are parts of, sorted."""
    return sorted({name for group in set(groups) for name in enclosing(group)})


def belongs(group: str, to: str) -> bool:
    """Return whether a group is another one or a part of it."""
    return group == to or group.startswith(to + BELOW)

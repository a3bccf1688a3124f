"""Time spans in words."""

from __future__ import annotations


def span(seconds: float) -> str:
    """Return a time span to the second, minute or tenth of an hour.

    Example:
        >>> span(59), span(150), span(5400)
        ('59 s', '2.5 min', '1.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"

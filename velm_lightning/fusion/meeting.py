"""Where a fusion lets image and text meet, as a point of the curve that ``velm compare`` draws."""

from __future__ import annotations

from typing import NamedTuple

JOINED, CROSS = "joined attention", "cross-attention"
"""Kinds of fusions that exist at every depth."""

AFTER = 1.2
"""The depth of a fusion after the trunk, vector to vector, at which an axis shows it."""


class Meeting(NamedTuple):
    """The place at which image and text meet.

    Attributes:
        kind: how they do; fusions of one kind and different depths are one line of the curve.
        depth: the share of the trunk's layers below that place: 0 is before the trunk, 1 is on top of it.
    """

    kind: str
    depth: float

"""Writes the table of the curve of score against meeting depth."""

from __future__ import annotations

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.meeting_depth import ALL, CAPTION, curve_of
from velm_lightning.compare.views.numbers import spread
from velm_lightning.compare.views.sheet import Sheet


def meeting_sheet(comparison: Comparison) -> Sheet:
    """Return the table of the curve: one row per kind, tuning and depth, one column per group of samples."""
    parts = curve_of(comparison)
    groups = dict.fromkeys(part.group for part in parts)
    whole = [part for part in parts if part.group == ALL]
    places = [(part.tuning, line.kind, depth) for part in whole for line in part.lines for depth in line.depths]
    scores = {
        (part.tuning, line.kind, depth, part.group): score
        for part in parts
        for line in part.lines
        for depth, score in zip(line.depths, line.scores, strict=True)
    }
    rows = [
        [
            f"{kind}, {tuning}" if tuning else kind,
            f"{depth:.2f}" if depth <= 1 else "after",
            *(spread(scores.get((tuning, kind, depth, group))) for group in groups),
        ]
        for tuning, kind, depth in places
    ]
    head = ["kind", "depth", *groups]
    return Sheet(f"score by meeting depth on {comparison.split}", head, rows, 1, CAPTION)

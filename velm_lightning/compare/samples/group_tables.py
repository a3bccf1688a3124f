"""Writes the tables of groups and of agreement."""

from __future__ import annotations

import math

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.samples.group_tests import FEWEST_IMAGES, GroupTest
from velm_lightning.compare.views.numbers import p_value, points
from velm_lightning.compare.views.sheet import Sheet


def against_controls(comparison: Comparison) -> Sheet:
    """Return the table of all methods against all controls on every group."""
    names = list(dict.fromkeys(other.control.method.name for test in comparison.groups for other in test.against))
    head = ["group", "method", "samples", "verdict", "p (Holm)"]
    head += [part for name in names for part in (f"less {name} [95 %]", "same answers")]
    rows = [_row(test, names) for test in comparison.groups]
    least = comparison.groups[0].least if comparison.groups else 0
    caption = (
        f"Family: every method on every group, at least {least} seeds and {FEWEST_IMAGES} images; p (Holm) is for the "
        "claim that the method is better than every control. Intervals are for each cell separately, over seeds and "
        "images. `same answers` is the share of samples to which method and control give the same answer."
    )
    title = f"groups against every control: {comparison.tested}"
    return Sheet(title, head, rows, 2, caption)


def _row(test: GroupTest, names: list[str]) -> list[str]:
    cells = {other.control.method.name: other for other in test.against}
    row = [
        test.group,
        test.method.method.name,
        f"{test.against[0].agreement.samples:,}",
        verdict(test),
        p_value(test.p),
    ]
    for name in names:
        other = cells.get(name)
        row += [points(other.difference.interval), f"{other.agreement.share:.1%}"] if other else ["", ""]
    return row


def verdict(test: GroupTest) -> str:
    """Return the claim about a group, or the reason why there is none."""
    same = [other.control.method.name for other in test.against if other.agreement.share == 1]
    if same:
        return f"identical to {' and '.join(same)}"
    if test.clear:
        return "better than every control"
    if math.isnan(test.p):
        return f"too few seeds or images: needs {test.least} seeds"
    return "open"


MOST = 10


def agreement_sheet(comparison: Comparison) -> Sheet:
    """Return the matrix of the share of samples to which two methods give the same answer."""
    names = list(dict.fromkeys(name for pair in comparison.agreement for name in pair))[:MOST]
    rows = [
        [f"{place} {name}", *(_share(comparison.agreement.get((name, other), math.nan)) for other in names)]
        for place, name in enumerate(names, 1)
    ]
    caption = (
        "Share of samples with the same answer, means over the seeds in common; on the diagonal, between the seeds "
    )
    caption += "of one method. Without intervals."
    return Sheet("agreement of answers", ["method", *map(str, range(1, len(names) + 1))], rows, 1, caption)


def _share(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.1%}"

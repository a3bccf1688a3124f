"""Writes the tables of paired differences: of all pairs, and of all methods against the better control."""

from __future__ import annotations

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.pairs import Pair
from velm_lightning.compare.result import Result
from velm_lightning.compare.statistics import Interval
from velm_lightning.compare.views.numbers import p_value, points
from velm_lightning.compare.views.sheet import Sheet

PAIRED = "Intervals are for each pair separately, over seeds and images together; p is corrected for the family (Holm)."


def pair_sheet(comparison: Comparison) -> Sheet:
    """Return the table of the paired differences of all methods."""
    family = comparison.family
    count = f"{family.tests} of {family.pairs} pairs" if family.tests < family.pairs else f"{family.tests} pairs"
    caption = (
        f"Family: all pairs of methods, tested together: {count} with at least {family.least} seeds. {PAIRED} A claim "
        f"(clear) needs p below 0.05; pairs with fewer seeds have none. Needed seeds are for "
        f"a power of 80 %, if the observed differences and spreads are the true ones.{_direction(comparison)}"
        f"{_looks(comparison)}"
    )
    head = ["better", "worse", "difference [95 %]", "p (Holm)", "seeds", "verdict"]
    rows = [[pair.a.method.name, pair.b.method.name, *_tested(pair), pair.verdict] for pair in comparison.pairs]
    return Sheet(f"paired differences of {comparison.tested}", head, rows, 2, caption)


def _direction(comparison: Comparison) -> str:
    return f" Of the {comparison.tested}, lower values are better." if comparison.tested_sign < 0 else ""


def _looks(comparison: Comparison) -> str:
    """Return how often results were looked at while seeds were added; empty if the number of seeds was fixed."""
    looks = dict.fromkeys(str(list(run.record["looks"]["looks"])) for run in comparison.runs if run.record.get("looks"))
    if not looks:
        return ""
    return f" Seeds were added until decided: p and intervals are corrected for looks at {' and '.join(looks)} seeds."


def control_sheet(comparison: Comparison, control: Result) -> Sheet:
    """Return the table of the differences of all methods from the better control."""
    rows = [
        [
            (pair.b if pair.a is control else pair.a).method.name,
            *_tested(pair, pair.a is control),
            _beats(pair, control),
        ]
        for pair in comparison.against(control)
    ]
    head = ["method", "method less control [95 %]", "p (Holm)", "seeds", "verdict"]
    caption = (
        "Family: all methods against the better control, part of all pairs of methods, with their p. "
        f"{PAIRED}{_direction(comparison)}"
    )
    return Sheet(f"against the better control, {control.method.name}", head, rows, 1, caption)


def _beats(pair: Pair, control: Result) -> str:
    if pair.clear:
        return "clearly worse" if pair.a is control else "clearly better"
    return pair.verdict


def _tested(pair: Pair, turned: bool = False) -> list[str]:
    """Return the cells of difference, p and seeds; with ``turned`` the difference is B - A."""
    difference = pair.difference
    value, low, high = difference.interval
    interval = Interval(-value, -high, -low) if turned else difference.interval
    return [points(interval), p_value(pair.p), f"{difference.seeds} {'paired' if difference.paired else 'unpaired'}"]

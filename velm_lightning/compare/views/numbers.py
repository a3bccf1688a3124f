"""Writes numbers for people: intervals, p-values and short numbers."""

from __future__ import annotations

import math

from velm_lightning.compare.statistics import Interval


def points(interval: Interval) -> str:
    """Return a difference with its interval as text."""
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def spread(interval: Interval | None) -> str:
    """Return a mean with half the width of its interval, if it has one."""
    if interval is None:
        return ""
    return f"{interval.value:.4f}" + (f" ± {interval.half:.4f}" if math.isfinite(interval.half) else "")


def percent(share: float) -> str:
    """Return a probability in per cent; one that is not exactly 0 or 1 is not shown as if it were."""
    if 0 < share < 0.0005:
        return "< 0.1%"
    return "> 99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def short(value: float) -> str:
    """Return a number in short form: 954 k, 26.1 M, 3.2."""
    if math.isnan(value):
        return "—"
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def p_value(p: float) -> str:
    """Return a p-value in readable form."""
    if math.isnan(p):
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"

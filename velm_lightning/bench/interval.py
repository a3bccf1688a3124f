"""The median of repeated measurements, with its interval."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from math import comb
from typing import NamedTuple

COVERAGE = 0.95
LEAST = 6
"""Smallest number of values whose interval has that coverage."""


class Interval(NamedTuple):
    """A median and an interval of it.

    Example:
        >>> str(Interval.of([1.01, 1.03, 1.02, 1.04, 1.02, 1.03, 1.02]))
        '1.02 (1.01 to 1.04)'

    Attributes:
        median: the median of the values.
        low: lower end of the interval.
        high: upper end of the interval.
        turns: number of values; with fewer than ``LEAST`` the interval is only their range.
    """

    median: float
    low: float
    high: float
    turns: int

    @staticmethod
    def of(values: Sequence[float]) -> Interval:
        """Return the median with the 95 % interval of order statistics (Thompson 1936), which fits any distribution.

        The interval reaches from the k-th smallest to the k-th largest value, with the largest k whose binomial
        coverage is at least 95 %.
        """
        ordered, count = sorted(values), len(values)
        skipped, outside = 0, 1.0  # outside: samples, of 2 ** count, in which at most `skipped` values are on one side
        while (outside + comb(count, skipped + 1)) * 2 / 2**count <= 1 - COVERAGE:
            skipped += 1
            outside += comb(count, skipped)
        return Interval(statistics.median(ordered), ordered[skipped], ordered[count - 1 - skipped], count)

    @property
    def half_width(self) -> float:
        """Distance from the median to the farther end, as a share of the median; infinite below ``LEAST`` values."""
        if self.turns < LEAST or not self.median:
            return float("inf")
        return max(self.high - self.median, self.median - self.low) / abs(self.median)

    def __str__(self) -> str:
        median, low, high = (number(value) for value in (self.median, self.low, self.high))
        return f"{median} ({low} to {high})"


def number(value: float) -> str:
    """Format a number with four significant digits, or as a whole number from 1000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

"""Computes Student's t without scipy, and the statistic that combines two of them: over seeds and over images."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_ANGLES = 20_001


@lru_cache(maxsize=1024)
def _table(freedom: float) -> tuple[Array, Array]:
    """Return angles from 0 to pi/2 and the probability that abs(T) is above sqrt(freedom) tan(angle)."""
    angles = np.linspace(0, np.pi / 2, _ANGLES)
    if freedom > 200:  # the cosine's power becomes a peak at 0
        angles = angles * min(1.0, 12 / sqrt(freedom))
    density = np.cos(angles) ** (freedom - 1)
    steps = ((density[1:] + density[:-1]) / 2)[::-1]
    tails = np.concatenate([[0.0], np.cumsum(steps)])[::-1]
    return angles, tails / tails[0]


def t_p(t: Any, freedom: float) -> Any:
    """Return the two-sided p-value of Student's t, a number or an array; ``freedom`` is at least 1."""
    angles, tails = _table(max(1.0, freedom))
    return np.interp(np.arctan(np.abs(t) / sqrt(max(1.0, freedom))), angles, tails)


def t_quantile(q: float, freedom: float) -> float:
    """Return the quantile of Student's t for q from 0.5 to 1; ``freedom`` is at least 1."""
    return float(_two_sided(np.asarray(2 * (1 - q)), freedom))


def t_quantiles(q: Array, freedom: float) -> Array:
    """Return quantiles of Student's t for probabilities between 0 and 1; ``freedom`` is at least 1."""
    return np.sign(q - 0.5) * _two_sided(1 - np.abs(2 * q - 1), freedom)


def _two_sided(level: Array, freedom: float) -> Array:
    """Return the t that abs(T) exceeds with probability ``level``."""
    angles, tails = _table(max(1.0, freedom))
    return np.asarray(sqrt(max(1.0, freedom)) * np.tan(np.interp(level, tails[::-1], angles[::-1])))


def joint_half_width(level: float, first: Any, first_freedom: float, second: Any, second_freedom: float) -> Any:
    """Return half the width of the interval that combines two sources of variance.

    Its square is (t[f1] e1)² + (t[f2] e2)², so that the interval is never narrower than that of either source.

    Args:
        level: probability that the interval misses, 0.05 for a 95 % interval.
        first: squared standard error e1², a number or an array.
        first_freedom: its degrees of freedom f1.
        second: squared standard error e2².
        second_freedom: its degrees of freedom f2.
    """
    t1, t2 = (float(_two_sided(np.asarray(level), freedom)) for freedom in (first_freedom, second_freedom))
    return np.sqrt(t1**2 * first + t2**2 * second)


@lru_cache(maxsize=64)
def _levels(first_freedom: float, second_freedom: float) -> tuple[Array, Array, Array]:
    """Return levels from 1 to 0, and for each source the t that is exceeded with each probability."""
    angles, tails = _table(max(1.0, first_freedom))
    return tails, sqrt(max(1.0, first_freedom)) * np.tan(angles), _two_sided(tails, second_freedom)


def joint_p(value: Any, first: Any, first_freedom: float, second: Any, second_freedom: float) -> Any:
    """Return the level at which the interval of ``joint_half_width`` around ``value`` just touches 0.

    Args:
        value: the estimate, a number or an array.
        first: as in ``joint_half_width``.
        first_freedom: as there.
        second: as there.
        second_freedom: as there.
    """
    tails, t1, t2 = _levels(first_freedom, second_freedom)
    value, first, second = np.broadcast_arrays(np.abs(value), np.sqrt(first), np.sqrt(second))
    low, high = np.zeros(value.shape, int), np.full(value.shape, len(tails) - 1)
    for _ in range(len(tails).bit_length()):
        middle = (low + high) // 2
        narrower = np.hypot(first * t1[middle], second * t2[middle]) < value
        low, high = np.where(narrower, middle, low), np.where(narrower, high, middle)
    below, above = (np.hypot(first * t1[place], second * t2[place]) for place in (low, high))
    gap = above - below
    share = np.divide(value - below, gap, out=np.zeros_like(value), where=gap > 0)
    p = tails[low] + np.clip(share, 0, 1) * (tails[high] - tails[low])
    return np.where((first == 0) & (second == 0), np.where(value > 0, 0.0, 1.0), np.where(value > 0, p, 1.0))


def normal_cdf(z: Any) -> Any:
    """Return the distribution function of the standard normal, a number or an array, to 1e-7.

    Example:
        >>> round(float(normal_cdf(1.96)), 4)
        0.975
    """
    z = np.asarray(z, float)
    tail = t_p(z, 1e7) / 2
    return np.where(z > 0, 1 - tail, tail)

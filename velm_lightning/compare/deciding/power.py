"""Computes how many seeds and images tell a given difference apart, from the variance components of the runs at hand.

The difference of two methods on seed s and image c is modelled as D + S_s + I_c + N_sc, crossed and normal.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan, sqrt
from typing import Any, NamedTuple

import numpy as np

from velm_lightning.compare.statistics import LEVEL, MOST_SEEDS, Difference
from velm_lightning.compare.student import joint_half_width, normal_cdf

POWER = 0.8
"""The probability with which a difference is to be found."""

MOST_IMAGES = 1_000_000
"""The largest number of images that is considered."""

_LARGE = 5000


class Components(NamedTuple):
    """The variances of the difference of two methods.

    Attributes:
        seeds: variance over seeds; NaN if there is one seed.
        images: variance over images.
        noise: variance of single answers: seeds that answer the same images differently.
    """

    seeds: float
    images: float
    noise: float

    @staticmethod
    def of(gap: Difference) -> Components:
        """Estimate the variances from a difference by the method of moments; a negative estimate becomes 0."""
        _, over_seeds, over_images, seeds, images = gap.spread
        noise = gap.noise * seeds * images
        return Components(
            seeds=max(0.0, float(over_seeds) - gap.noise) * seeds if seeds > 1 else nan,
            images=max(0.0, float(over_images) - gap.noise) * images,
            noise=noise,
        )


class Plan(NamedTuple):
    """The numbers with which a pair finds a difference with 80 % power; infinite if no number suffices.

    Attributes:
        seeds_now: the number of seeds.
        images_now: the number of images.
        detectable: the smallest difference that is found with 80 % power now.
        seeds: the number of seeds, with the images of now.
        images: the number of images, with the seeds of now; NaN if these are too few for a claim.
        both: the seeds and images if both numbers grow by the same factor.
    """

    seeds_now: int
    images_now: int
    detectable: float
    seeds: float
    images: float
    both: tuple[float, float]


def power(parts: Components, gap: float, seeds: int, images: int, level: float = LEVEL) -> float:
    """Return the chance that a true difference is claimed; the variance over seeds is as uncertain as it will be.

    The estimate of the variance over seeds is chi-squared with S - 1 degrees of freedom, over which this averages; that
    over images is taken as known.

    Args:
        parts: the variances.
        gap: the true difference.
        seeds: the number of paired seeds, at least 2.
        images: the number of images, at least 2.
        level: the level of the test.

    Example:
        >>> round(power(Components(1.0, 0.0, 0.0), 3.0, seeds=4, images=1000), 2)
        0.86
    """
    over_seeds = (parts.seeds + parts.noise / images) / seeds
    over_images = (parts.images + parts.noise / seeds) / images
    error = sqrt(parts.seeds / seeds + parts.images / images + parts.noise / (seeds * images))
    if not error:
        return float(gap != 0)
    ratios, weights = _chi_squared(seeds - 1)
    freedom = min(images - 1, _LARGE)  # beyond, Student's t is normal, and each number costs a table
    half = joint_half_width(level, over_seeds * ratios, seeds - 1, over_images, freedom)
    claimed = normal_cdf((abs(gap) - half) / error) + normal_cdf((-abs(gap) - half) / error)
    return float((weights * claimed).sum())


def _chi_squared(freedom: int) -> tuple[Any, Any]:
    """Return values of chi-squared divided by its degrees of freedom, and their weights."""
    edges = np.linspace(0, (freedom + 10 * sqrt(2 * freedom) + 10) ** 0.5, 801)
    roots = (edges[1:] + edges[:-1]) / 2  # of chi-squared: its density is not singular in them
    log_density = (freedom - 1) * np.log(roots) - roots**2 / 2
    weights = np.exp(log_density - log_density.max())
    return roots**2 / freedom, weights / weights.sum()


def plan(difference: Difference, gap: float, tests: int, least: int) -> Plan:
    """Return the numbers of seeds and images with which a pair finds a difference of ``gap``.

    Args:
        difference: the pair.
        gap: the true difference, above 0.
        tests: number of pairs in the family; the first of them is tested at 5 % divided by this number.
        least: the smallest number of seeds that a claim needs.
    """
    parts, level = Components.of(difference), LEVEL / max(1, tests)
    seeds, images = difference.seeds, difference.spread.images
    if np.isnan(parts.seeds) or images < 2:
        return Plan(seeds, images, nan, nan, nan, (nan, nan))

    def enough(s: int, c: int) -> bool:
        return s >= least and power(parts, gap, s, c, level) >= POWER

    def both(factor: int) -> tuple[int, int]:  # in per cent of now
        return -(-seeds * factor // 100), -(-images * factor // 100)

    factor = _smallest(lambda factor: enough(*both(factor)), 100, 100 * MOST_SEEDS // seeds)
    return Plan(
        seeds_now=seeds,
        images_now=images,
        detectable=_detectable(parts, seeds, images, level) if seeds >= least else nan,
        seeds=_smallest(lambda s: enough(s, images), min(least, seeds), MOST_SEEDS),
        images=_smallest(lambda c: enough(seeds, c), 2, MOST_IMAGES) if seeds >= least else nan,
        both=(inf, inf) if factor == inf else both(int(factor)),
    )


def _smallest(holds: Callable[[int], bool], low: int, high: int) -> float:
    """Return the smallest number for which a growing condition holds, infinite if it does not hold for ``high``."""
    if high < low or not holds(high):
        return inf
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _detectable(parts: Components, seeds: int, images: int, level: float) -> float:
    """Return the smallest difference that is found with 80 % power."""
    low, high = 0.0, sqrt(parts.seeds + parts.images + parts.noise) or 1.0
    while power(parts, high, seeds, images, level) < POWER:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power(parts, middle, seeds, images, level) >= POWER else (middle, high)
    return high

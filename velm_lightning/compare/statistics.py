"""Computes intervals and tests of means over few seeds and many samples; docs/statistics.md has the rule and limits.

A score has two sources of variance: the seed of training and the images of the evaluation. Every difference includes
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from velm_lightning.compare.measures import Measured
from velm_lightning.compare.student import Array, joint_half_width, joint_p, t_quantile

LEVEL = 0.05
"""Chance of a false claim in a family of comparisons, and of an interval that misses."""

MOST_SEEDS = 50
"""The largest number of seeds that ``seeds_needed`` considers."""

_POWER = 0.8416  # the normal quantile of a power of 80 %


class Interval(NamedTuple):
    """An estimate with its 95 % confidence interval; infinite if it is unknown."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half its width."""
        return (self.high - self.low) / 2


class Table(NamedTuple):
    """One figure of R runs on the same samples, and how it varies with the C images.

    Attributes:
        values: (R,) the figure.
        influence: (R, C) the effect of each image on the figure, times C; each row sums to 0, and the variance of a
            row divided by C is the variance of the figure over images.
    """

    values: Array
    influence: Array

    @staticmethod
    def of(measured: Sequence[Measured], images: NDArray[np.intp]) -> Table:
        """Sum the effects of samples by the number of their image (N,)."""
        clusters = int(images.max()) + 1 if len(images) else 0
        rows = [clusters * np.bincount(images, figure.effects, clusters) for figure in measured]
        return Table(np.array([figure.value for figure in measured]), np.array(rows))

    @property
    def images(self) -> int:
        """The number of images."""
        return int(self.influence.shape[1])


class Spread(NamedTuple):
    """A difference A - B and its two sources of variance; numbers, or arrays of one shape.

    Attributes:
        value: the difference of the means.
        over_seeds: its squared standard error over seeds.
        over_images: its squared standard error over images.
        seeds: the number of pairs of seeds, or the seeds of the arm that has fewer.
        images: the number of images.
    """

    value: Any
    over_seeds: Any
    over_images: Any
    seeds: int
    images: int

    def half_width(self, level: float = LEVEL) -> Any:
        """Return half the width of the interval that misses with probability ``level``; infinite for one image.

        With one seed the interval is over images only and holds for these two models only.
        """
        if self.images < 2:
            return np.full(np.shape(self.value), inf)
        return joint_half_width(level, self.over_seeds, self.seeds - 1, self.over_images, self.images - 1)

    def p(self) -> Any:
        """Return the level at which the interval just touches 0: the uncorrected two-sided p-value of this pair."""
        if self.images < 2:
            return np.ones(np.shape(self.value))
        return joint_p(self.value, self.over_seeds, self.seeds - 1, self.over_images, self.images - 1)


def spread(a: Array, b: Array, image_effect: Array, paired: bool) -> Spread:
    """Return a difference and its sources of variance.

    Args:
        a: (…, Sa) the figure of each run of A.
        b: (…, Sb) the figure of each run of B.
        image_effect: (…, C) influence of each image on the mean of A minus that on the mean of B.
        paired: run i of A and run i of B have the same seed; else the arms are independent.
    """
    seeds = min(a.shape[-1], b.shape[-1])
    over_seeds: Any = np.zeros(a.shape[:-1])
    if seeds > 1:
        arms = (a - b,) if paired else (a, b)
        over_seeds = sum(np.var(arm, axis=-1, ddof=1) / arm.shape[-1] for arm in arms)
    images = image_effect.shape[-1]
    over_images = np.square(image_effect).sum(-1) / (images * max(1, images - 1))
    return Spread(a.mean(-1) - b.mean(-1), over_seeds, over_images, seeds, images)


class Difference(NamedTuple):
    """The difference A - B with its interval and test.

    Attributes:
        interval: the mean difference and its interval, for this pair separately.
        p: two-sided p-value of no difference, not corrected for other pairs.
        seeds: pairs of seeds, or the seeds of the arm that has fewer; 1 allows no claim about other seeds.
        paired: whether A and B were compared seed by seed.
        spread: the sources of variance.
        noise: the part of the squared standard error over images that shrinks with the number of seeds.
        level: the level of the interval and of a claim: ``LEVEL``, or less if results are looked at several times.
    """

    interval: Interval
    p: float
    seeds: int
    paired: bool
    spread: Spread
    noise: float
    level: float = LEVEL


def difference(table: Table, a: Sequence[int], b: Sequence[int], paired: bool, share: float = 1.0) -> Difference:
    """Compare the runs ``a`` with the runs ``b``, rows of ``table``; sign, interval and p are of the same runs.

    Args:
        table: the figure of every run.
        a: rows of A.
        b: rows of B.
        paired: row ``a[i]`` has the seed of row ``b[i]``; else the arms are independent.
        share: the part of the level that the interval has.
    """
    of_a, of_b = table.influence[list(a)], table.influence[list(b)]
    gap = spread(table.values[list(a)], table.values[list(b)], of_a.mean(0) - of_b.mean(0), paired)
    noise = sum(_noise(arm) for arm in ((of_a - of_b,) if paired else (of_a, of_b)))
    value, half = float(gap.value), float(gap.half_width(share * LEVEL))
    return Difference(
        interval=Interval(value, value - half, value + half),
        p=float(gap.p()),
        seeds=gap.seeds,
        paired=paired,
        spread=gap,
        noise=noise,
        level=share * LEVEL,
    )


def _noise(influence: Array) -> float:
    """Return the variance of the mean over seeds (S, C) that is due to seeds answering single images differently."""
    seeds, images = influence.shape
    rest = influence - influence.mean(0)
    return float(np.square(rest).sum() / (max(1, seeds - 1) * max(1, images - 1) * seeds * images))


def least_seeds(methods: int) -> int:
    """Return the number of seeds that a claim needs in a comparison of ``methods`` methods.

    A method may learn suddenly, so that each run ends at one of two values. With few seeds, some of several equally
    good methods then show the upper value only and others the lower only, without any spread. This returns the smallest
    number of seeds at which that happens in less than 5 % of comparisons, if both values are equally frequent: 3 for
    two methods, 4 for up to four, 5 for up to eight, 6 for up to ten.
    """
    seeds = 2
    while 1 - 2 * (1 - 2.0**-seeds) ** methods + (1 - 2.0 ** (1 - seeds)) ** methods > LEVEL:
        seeds += 1
    return seeds


def seeds_needed(gap: Difference, tests: int, least: int) -> float:
    """Return the number of seeds that would decide a pair, if the observed difference and spreads are the true ones.

    Args:
        gap: the difference of the pair.
        tests: number of pairs in the family; the first of them is tested at 5 % divided by this number.
        least: the smallest number of seeds that a claim needs.

    Returns:
        The smallest number with a power of 80 %, ``MOST_SEEDS`` + 1 for any above ``MOST_SEEDS``; NaN if there is one
        seed, because its spread is unknown; infinity if no number of seeds decides it and more images are needed.
    """
    if gap.seeds < 2:
        return nan
    value, over_seeds, over_images, seeds, images = gap.spread
    fixed, level = max(0.0, over_images - gap.noise), LEVEL / max(1, tests)
    if images < 2 or abs(value) <= _reach(Spread(value, 0.0, fixed, 10**6, images), level):
        return inf
    for count in range(least, MOST_SEEDS + 1):
        then = Spread(value, over_seeds * seeds / count, fixed + gap.noise * seeds / count, count, images)
        if abs(value) > _reach(then, level):
            return count
    return MOST_SEEDS + 1


def _reach(gap: Spread, level: float) -> float:
    """Return the difference that is claimed with a power of 80 %."""
    return float(gap.half_width(level) + _POWER * np.sqrt(gap.over_seeds + gap.over_images))


def seed_interval(values: Sequence[float]) -> Interval:
    """Return mean and 95 % interval over seeds by Student's t; unbounded for one seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -inf, inf)
    half = t_quantile(1 - LEVEL / 2, len(values) - 1) * float(np.std(values, ddof=1)) / sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def image_interval(table: Table, row: int) -> Interval:
    """Return the figure of one run and its 95 % interval over images; unbounded for one image."""
    value, images = float(table.values[row]), table.images
    if images < 2:
        return Interval(value, -inf, inf)
    half = t_quantile(1 - LEVEL / 2, images - 1) * float(np.std(table.influence[row], ddof=1)) / sqrt(images)
    return Interval(value, value - half, value + half)


def holm(p_values: Any) -> Array:
    """Return p-values (…, P) corrected by Holm (1979), which bounds the chance of any false claim in the family."""
    p = np.asarray(p_values, float)
    order = np.argsort(p, -1)
    stepped = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.maximum.accumulate(np.minimum(1.0, stepped), -1), -1)
    return corrected


def family_p(p: Any, seeds: Sequence[int], least: int) -> Array:
    """Return the p-values (…, P) of a family, corrected by Holm; NaN for pairs with too few seeds.

    Args:
        p: (…, P) uncorrected p-values of the pairs.
        seeds: the number of seeds of each of the P pairs.
        least: the number of seeds that a claim needs.
    """
    tested = [place for place, count in enumerate(seeds) if count >= least]
    corrected = np.full(np.shape(p), nan)
    corrected[..., tested] = holm(np.asarray(p, float)[..., tested])
    return corrected

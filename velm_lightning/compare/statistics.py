"""What can be said of means over a few seeds and many samples: intervals, paired differences, Holm, best of k, Pareto.

Two sources of chance part a score from what the method is worth: the seed it was trained with, and the images it was
asked about. Both are in every difference reported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import comb, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DRAWS = 2000
"""Bootstrap draws: the standard error then has a Monte-Carlo error of 1.6 %."""

_CHUNK = 4_000_000  # numbers drawn at once
_ANGLES = 20_001


class Interval(NamedTuple):
    """An estimate with its 95 % confidence interval; infinite where nothing can be said."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half its width."""
        return (self.high - self.low) / 2


class Difference(NamedTuple):
    """How much better A is than B.

    Attributes:
        interval: the mean difference and its interval.
        p: two-sided p-value of no difference, for this pair alone.
        seeds: how many seeds were compared; 1 tells nothing of other seeds, only of other images.
        paired: whether A and B were compared seed by seed.
    """

    interval: Interval
    p: float
    seeds: int
    paired: bool


class Table(NamedTuple):
    """The scores of R runs on the same samples, summed up by image.

    Attributes:
        sums: (R, C) sum of the scores of each image's samples.
        counts: (C,) samples of each image.
    """

    sums: Array
    counts: Array

    @property
    def means(self) -> Array:
        """The mean score (R,) of each run."""
        means: Array = self.sums.sum(1) / self.counts.sum()
        return means

    @staticmethod
    def of(scores: Array, images: NDArray[np.intp]) -> Table:
        """Sum up scores (R, N) by the image number (N,) of each sample."""
        clusters = int(images.max()) + 1 if len(images) else 0
        sums: Array = np.stack([np.bincount(images, row, clusters) for row in scores]).astype(float)
        return Table(sums, np.bincount(images, minlength=clusters).astype(float))


def resampled_means(table: Table, seed: int = 0, draws: int = DRAWS) -> Array:
    """Return the mean of every run (draws, R) as if the images had been drawn anew: bootstrap by cluster.

    All runs see the same draws, so that differences between columns are paired.
    """
    rng, clusters = np.random.default_rng(seed), len(table.counts)
    at_once, found = max(1, _CHUNK // max(1, clusters)), []
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        picks = rng.integers(clusters, size=(count, clusters)) + np.arange(count)[:, None] * clusters
        weights = np.bincount(picks.ravel(), minlength=count * clusters).reshape(count, clusters).astype(float)
        found.append(weights @ table.sums.T / (weights @ table.counts)[:, None])
    return np.concatenate(found)


def difference(table: Table, resampled: Array, a: Sequence[int], b: Sequence[int], paired: bool) -> Difference:
    r"""Compare the runs ``a`` with the runs ``b``, rows of ``table``.

    The variance of the difference is that of a crossed design, seeds x images: the variance over seeds, plus the
    bootstrap variance over images less the part of it that is noise of single runs, which the seeds' variance holds
    already (Owen 2007 on why drawing both at once counts it three times). Drawing three seeds anew would understate
    their spread by a third, so their part is taken exactly; Student's t has Satterthwaite's degrees of freedom.

    Args:
        table: scores by image.
        resampled: ``resampled_means(table)``.
        a: rows of A.
        b: rows of B.
        paired: row ``a[i]`` has the seed of row ``b[i]``; else the runs are taken as independent.
    """
    means, images = table.means, len(table.counts)
    value = float(means[a].mean() - means[b].mean())
    over_images = _variance(resampled[:, a].mean(1) - resampled[:, b].mean(1))
    if min(len(a), len(b)) < 2:
        return Difference(*_tested(value, over_images, images - 1), 1, paired)
    influence = (table.sums - means[:, None] * table.counts) / table.counts.mean()  # (R, C), each row sums to 0
    if paired:
        parts = [(means[a] - means[b], influence[a] - influence[b])]
    else:
        parts = [(means[a], influence[a]), (means[b], influence[b])]
    spreads = [_variance(one) / len(one) for one, _ in parts]
    over_seeds = sum(spreads)
    over_images = max(0.0, over_images - sum(_noise(one) for _, one in parts))
    freedom = sum(spread**2 / (len(one) - 1) for spread, (one, _) in zip(spreads, parts, strict=True))
    freedom += over_images**2 / max(1, images - 1)
    variance = float(over_seeds + over_images)
    return Difference(*_tested(value, variance, variance**2 / freedom if freedom else 1), min(len(a), len(b)), paired)


def _variance(values: Array) -> float:
    return float(np.var(values, ddof=1))


def _noise(influence: Array) -> float:
    """Return the variance of the mean over seeds (S, C) that is due to seeds answering single images differently."""
    seeds, images = influence.shape
    rest = influence - influence.mean(0)
    return float(np.square(rest).sum() / ((seeds - 1) * max(1, images - 1) * seeds * images))


def _tested(value: float, variance: float, freedom: float) -> tuple[Interval, float]:
    error = sqrt(variance)
    half = t_quantile(0.975, freedom) * error
    if not error:
        return Interval(value, value, value), 1.0 if not value else 0.0
    return Interval(value, value - half, value + half), t_p(value / error, freedom)


def seed_interval(values: Sequence[float]) -> Interval:
    """Return mean and 95 % interval over seeds by Student's t; unbounded for one seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    return _tested(mean, _variance(np.asarray(values, float)) / len(values), len(values) - 1)[0]


@lru_cache(maxsize=1024)
def _t(freedom: float) -> tuple[Array, Array]:
    """Return angles in [0, pi/2] and the share of |T| below sqrt(freedom) tan(angle): it is an integral of cosines."""
    angles = np.linspace(0, np.pi / 2, _ANGLES)
    if freedom > 200:  # the cosine's power becomes a peak at 0: look there
        angles = angles * min(1.0, 12 / sqrt(freedom))
    density = np.cos(angles) ** (freedom - 1)
    steps = (density[1:] + density[:-1]) / 2
    share = np.concatenate([[0.0], np.cumsum(steps)])
    return angles, share / share[-1]


def t_p(t: float, freedom: float) -> float:
    """Return the two-sided p-value of Student's t; ``freedom`` is 1 or more."""
    angles, share = _t(max(1.0, freedom))
    return max(0.0, 1 - float(np.interp(np.arctan(abs(t) / sqrt(max(1.0, freedom))), angles, share)))


def t_quantile(q: float, freedom: float) -> float:
    """Return the quantile of Student's t for q from 0.5 to 1; ``freedom`` is 1 or more."""
    angles, share = _t(max(1.0, freedom))
    return sqrt(max(1.0, freedom)) * float(np.tan(np.interp(2 * q - 1, share, angles)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm (1979): the chance of one false claim among all is kept."""
    order = np.argsort(p_values)
    found, worst = np.empty(len(p_values)), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        found[index] = worst
    return [float(value) for value in found]


def expected_best(values: Sequence[float]) -> list[float]:
    """Return the expected best of k = 1, 2, …, n runs drawn from n without replacement (Tang et al. 2020).

    It tells what a method reaches under a budget of k trials (Dodge et al. 2019).
    """
    ordered, n = sorted(values), len(values)
    return [
        sum(comb(below, k - 1) * value for below, value in enumerate(ordered) if below >= k - 1) / comb(n, k)
        for k in range(1, n + 1)
    ]


def pareto(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Return the places of those that no other beats in one and equals in the other, cheapest first."""
    return list(_front(costs, scores))


def _front(costs: Sequence[float], scores: Sequence[float]) -> Iterator[int]:
    best = -np.inf
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        if scores[index] > best:
            best = scores[index]
            yield index

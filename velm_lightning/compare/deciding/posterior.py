"""The probability that a difference is larger than a region of practical equivalence; docs/statistics.md has the model.

Benavoli et al. (2017), "Time for a change: a tutorial for comparing multiple classifiers through Bayesian analysis".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from velm_lightning.compare.statistics import Difference
from velm_lightning.compare.student import t_p, t_quantiles

CERTAIN = 0.95
"""The probability from which the posterior decides."""

_POINTS = 2001


class Posterior(NamedTuple):
    """The probabilities of a true difference A - B; they sum to 1.

    Attributes:
        better: of a difference above the region of practical equivalence.
        equal: of one within it.
        worse: of one below it.
    """

    better: float
    equal: float
    worse: float

    @property
    def verdict(self) -> str:
        """The most probable of the three if it is certain, else ``open``."""
        probable = max(self._fields, key=lambda name: getattr(self, name))
        return probable if getattr(self, probable) >= CERTAIN else "open"


def posterior(gap: Difference, rope: float, sign: int = 1) -> Posterior:
    """Return the posterior of the difference of two methods over seeds and images.

    The difference of seed s on image c is D + S_s + I_c + N_sc, with independent normal effects, a flat prior on D and
    Jeffreys' priors on the variances. Given the runs, D is the mean difference plus two independent scaled Student's t,
    one with S - 1 degrees of freedom for seeds and one with C - 1 for images (Behrens–Fisher). The noise N is counted
    once, in the term of seeds. With one seed the posterior is of these two models only.

    Args:
        gap: the difference.
        rope: half the width of the region of practical equivalence, in units of the figure; at least 0.
        sign: 1 if higher values of the figure are better, -1 if lower values are.

    Example:
        >>> from velm_lightning.compare.statistics import Spread, Interval
        >>> spread = Spread(0.03, 0.01**2, 0.01**2, seeds=5, images=400)
        >>> gap = Difference(Interval(0.03, 0.0, 0.06), 0.05, 5, True, spread, noise=0.0)
        >>> [round(share, 2) for share in posterior(gap, rope=0.01)]
        [0.87, 0.12, 0.01]
    """
    value, over_seeds, over_images, seeds, images = gap.spread
    if images < 2:
        return Posterior(float("nan"), float("nan"), float("nan"))
    fixed = over_images if seeds < 2 else max(0.0, float(over_images) - gap.noise)
    above = _above(float(value), float(over_seeds), seeds - 1, fixed, images - 1, rope)
    below = _above(-float(value), float(over_seeds), seeds - 1, fixed, images - 1, rope)
    better, worse = (above, below) if sign > 0 else (below, above)
    return Posterior(better, max(0.0, 1 - above - below), worse)


def _above(value: float, first: float, first_freedom: int, second: float, second_freedom: int, bound: float) -> float:
    """Return the probability that ``value`` plus two scaled Student's t is above ``bound``."""
    if not first_freedom or not first:
        return float(_upper(bound - value, second, second_freedom))
    shares = (np.arange(_POINTS) + 0.5) / _POINTS
    of_seeds = np.sqrt(first) * t_quantiles(shares, first_freedom)  # equally probable
    return float(_upper(bound - value - of_seeds, second, second_freedom).mean())


def _upper(x: float | np.ndarray, squared: float, freedom: int) -> np.ndarray:
    """Return the probability that a Student's t with a squared scale is above ``x``."""
    if not squared:
        return np.where(np.asarray(x) < 0, 1.0, np.where(np.asarray(x) > 0, 0.0, 0.5))
    tail = t_p(np.asarray(x) / np.sqrt(squared), freedom) / 2
    return np.asarray(np.where(np.asarray(x) > 0, tail, 1 - tail))

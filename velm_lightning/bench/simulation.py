"""Simulates comparisons with known differences and tests them with the code of ``velm compare``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from velm_lightning.compare.pairs import Family
from velm_lightning.compare.statistics import LEVEL, Spread, family_p, spread
from velm_lightning.compare.student import Array

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""Draws the deviations of seeds from the mean score, in points, with mean 0."""

_AT_ONCE = 500


def normal(spread: float) -> Draw:
    """Return seeds whose scores are normal with a standard deviation of ``spread`` points."""
    return lambda rng, shape: rng.normal(0, spread, shape)


def two_modes(share: float) -> Draw:
    """Return seeds that end at 87 points with probability ``share``, else at 57, each with a spread of 1.5."""
    return lambda rng, shape: 30 * ((rng.random(shape) < share) - share) + rng.normal(0, 1.5, shape)


def exponential(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw seeds with a long upper tail, of a standard deviation of 3 points."""
    return 3 * (rng.exponential(1, shape) - 1)


def lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw seeds with a very long lower tail: most end close together, a few fail."""
    return np.asarray(1.5 * (np.exp(0.5) - np.exp(rng.normal(0, 1, shape))))


class Truth(NamedTuple):
    """The distribution that comparisons are drawn from.

    Attributes:
        draw: distribution over seeds of each method.
        seeds: number of seeds of each method.
        gaps: the true mean of each method, in points.
        over_images: standard deviation of a run's score over images, in points; half of its square is shared by the
            runs of a method.
        paired: whether methods have their first seeds in common; otherwise they have none in common.
        images: number of images; each has one to six samples.
    """

    draw: Sequence[Draw]
    seeds: Sequence[int]
    gaps: Sequence[float]
    over_images: float = 1.0
    paired: bool = True
    images: int = 30


def same(draw: Draw, methods: int, seeds: int, over_images: float = 1.0) -> Truth:
    """Return equally good methods with the same distribution and number of seeds."""
    return Truth([draw] * methods, [seeds] * methods, [0.0] * methods, over_images)


class Rates(NamedTuple):
    """Error rates and power, as shares of the comparisons.

    Attributes:
        false: comparisons with at least one false claim: of a difference that does not exist, or of the wrong sign.
        covered: intervals that contain the true difference, the mean over the pairs that have enough seeds for a claim;
            over all pairs if none has.
        power: share of the true differences that are claimed, the mean over the same pairs; NaN if there are none.
    """

    false: float
    covered: float
    power: float


def rates(truth: Truth, draws: int, seed: int = 0) -> Rates:
    """Draw comparisons and return their rates."""
    rng = np.random.default_rng(seed)
    pairs = list(combinations(range(len(truth.gaps)), 2))
    real = np.array([truth.gaps[a] - truth.gaps[b] for a, b in pairs])
    false, covered, claimed = [], [], []
    for count in _portions(draws):
        spreads = drawn_spreads(truth, pairs, count, rng)
        values = np.stack([pair.value for pair in spreads], -1)  # (n, P)
        halves = np.stack([pair.half_width() for pair in spreads], -1)
        clear, judged = _claims(spreads, pairs)
        right = np.sign(values) == np.sign(real)
        false.append((clear & ~right).any(-1))
        covered.append((np.abs(values - real) <= halves)[:, judged].mean(-1))
        claimed.append((clear & right)[:, real != 0])
    hits = np.concatenate(claimed)
    return Rates(
        float(np.concatenate(false).mean()),
        float(np.concatenate(covered).mean()),
        float(hits.mean()) if hits.size else float("nan"),
    )


def _portions(draws: int) -> Iterator[int]:
    for start in range(0, draws, _AT_ONCE):
        yield min(_AT_ONCE, draws - start)


def _claims(spreads: Sequence[Spread], pairs: Sequence[tuple[int, int]]) -> tuple[NDArray[np.bool_], list[int]]:
    """Return which pairs (n, P) are claimed to differ, and the indices of those with enough seeds for a claim."""
    seeds = [pair.seeds for pair in spreads]
    family = Family.of([(a, b, count) for (a, b), count in zip(pairs, seeds, strict=True)])
    enough = [place for place, count in enumerate(seeds) if count >= family.least]
    if not enough:
        return np.zeros((*np.shape(spreads[0].value), len(pairs)), bool), list(range(len(pairs)))
    return family_p(np.stack([pair.p() for pair in spreads], -1), seeds, family.least) < LEVEL, enough


def drawn_spreads(truth: Truth, pairs: Sequence[tuple[int, int]], count: int, rng: np.random.Generator) -> list[Spread]:
    """Draw the runs of every method and compare all pairs."""
    return compared(drawn(truth, count, rng), pairs, truth.paired)


Runs = list[tuple[Array, Array]]
"""The figures (n, S) of the runs of each method, and the influences (n, S, C) of images on them."""


def drawn(truth: Truth, count: int, rng: np.random.Generator) -> Runs:
    """Draw the runs of every method."""
    samples = rng.integers(1, 7, truth.images).astype(float)  # of each image
    scale = truth.over_images * samples.sum() / np.sqrt(2 * np.square(samples).sum())
    runs = []
    for draw, seeds, gap in zip(truth.draw, truth.seeds, truth.gaps, strict=True):
        effect = rng.normal(0, scale, (count, 1, truth.images)) + rng.normal(0, scale, (count, seeds, truth.images))
        shift = (effect * samples).sum(-1) / samples.sum()  # (n, S)
        influence = (effect - shift[..., None]) * samples / samples.mean()  # (n, S, C)
        runs.append((gap + draw(rng, (count, seeds)) + shift, influence))
    return runs


def compared(runs: Runs, pairs: Sequence[tuple[int, int]], paired: bool, most: int | None = None) -> list[Spread]:
    """Compare all pairs by their first ``most`` seeds; by default by those that both have, or by all if unpaired."""
    spreads = []
    for a, b in pairs:
        (of_a, effect_a), (of_b, effect_b) = runs[a], runs[b]
        used = min(of_a.shape[1], of_b.shape[1]) if paired and most is None else most
        image_effect = effect_a[:, :used].mean(1) - effect_b[:, :used].mean(1)
        spreads.append(spread(of_a[:, :used], of_b[:, :used], image_effect, paired))
    return spreads

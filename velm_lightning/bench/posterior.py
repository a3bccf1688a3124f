"""Measures the calibration of posteriors: how often a difference is what its posterior says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.deciding.posterior import Posterior, posterior
from velm_lightning.compare.statistics import Table, difference

ROPE, WIDE, IMAGES = 1.0, 5.0, 100
"""Half the region of practical equivalence and the standard deviation of true differences, in points; images."""

BINS = ((0.0, 0.05), (0.05, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 0.95), (0.95, 1.01))


class Bin(NamedTuple):
    """The posteriors whose probability of a better A lies in a range.

    Attributes:
        predicted: their mean probability.
        true: the share of the pairs in which A is better by more than the region.
        number: their number.
    """

    predicted: float
    true: float
    number: int


def calibration(seeds: int, over_seeds: float, over_images: float, draws: int) -> list[Bin]:
    """Draw pairs with true differences of all sizes, and compare the posteriors with the truth.

    Args:
        seeds: the number of paired seeds.
        over_seeds: standard deviation over seeds, in points.
        over_images: standard deviation over images of a run, in points; half of its square is noise of single answers.
        draws: number of pairs.
    """
    rng = np.random.default_rng(0)
    real = rng.normal(0, WIDE, draws)
    predicted = np.array([_drawn(gap, seeds, over_seeds, over_images, rng).better for gap in real])
    bins = []
    for low, high in BINS:
        inside = (predicted >= low) & (predicted < high)
        if inside.any():
            bins.append(Bin(float(predicted[inside].mean()), float((real[inside] > ROPE).mean()), int(inside.sum())))
    return bins


def _drawn(gap: float, seeds: int, over_seeds: float, over_images: float, rng: np.random.Generator) -> Posterior:
    scale = over_images * (IMAGES / 2) ** 0.5
    answers = gap + rng.normal(0, over_seeds, (seeds, 1)) + rng.normal(0, scale, IMAGES)
    answers = answers + rng.normal(0, scale, (seeds, IMAGES))
    runs = np.vstack([answers, np.zeros_like(answers)])
    table = Table(runs.mean(1), runs - runs.mean(1, keepdims=True))
    return posterior(difference(table, range(seeds), range(seeds, 2 * seeds), paired=True), ROPE)


def calibrated(draws: int) -> Iterator[Sequence[str]]:
    """Posteriors that A is better by more than 1 point: mean probability / how often it is so."""
    heads = [f"{low:.0%} to {min(1.0, high):.0%}" for low, high in BINS]
    yield ["seeds", "deviations over seeds, images", *heads]
    for seeds in (3, 5, 10):
        for over_seeds, over_images in ((2.0, 0.5), (1.0, 1.0), (0.3, 2.0)):
            bins = calibration(seeds, over_seeds, over_images, max(1, draws // 4))
            cells = [f"{each.predicted:.1%} / {each.true:.1%}" for each in bins]
            yield [str(seeds), f"{over_seeds:g}, {over_images:g}", *cells, *[""] * (len(BINS) - len(cells))]

"""Compares the confidence of predictions with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.reading import Scores
from velm_lightning.compare.student import Array

BINS = 10


class Calibration(NamedTuple):
    """How well the confidence of a method predicts its scores.

    Attributes:
        confidence: the mean confidence.
        score: the mean score of the same samples.
        error: the expected calibration error (Guo et al. 2017) with 10 bins of equal width, the mean over seeds.
        bins: for each bin with samples, over all seeds: mean confidence, mean score and number of samples.
    """

    confidence: float
    score: float
    error: float
    bins: list[tuple[float, float, int]]


def calibration(runs: Sequence[Scores]) -> Calibration | None:
    """Return the calibration of the runs of a method; None unless samples have confidences and scores from 0 to 1.

    Example:
        >>> import numpy as np
        >>> nothing = ("",) * 4
        >>> scores, confidences = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.75, 0.75, 0.75, 0.75])
        >>> calibration([Scores(nothing, nothing, nothing, scores, scores, nothing, ((),) * 4, nothing, confidences)])
        Calibration(confidence=0.75, score=0.75, error=0.0, bins=[(0.75, 0.75, 4)])
    """
    known = [~np.isnan(scores.confidences) for scores in runs]
    pairs = [(scores.confidences[mask], scores.values[mask]) for scores, mask in zip(runs, known, strict=True)]
    if not all(len(confidences) and _within(confidences) and _within(values) for confidences, values in pairs):
        return None
    confidences, values = (np.concatenate(column) for column in zip(*pairs, strict=True))
    error = float(np.mean([_error(*pair) for pair in pairs]))
    return Calibration(float(confidences.mean()), float(values.mean()), error, _bins(confidences, values))


def _within(values: Array) -> bool:
    return bool((values >= 0).all() and (values <= 1).all())


def _bins(confidences: Array, scores: Array) -> list[tuple[float, float, int]]:
    place = np.minimum((confidences * BINS).astype(int), BINS - 1)
    return [
        (float(confidences[place == bin].mean()), float(scores[place == bin].mean()), int((place == bin).sum()))
        for bin in range(BINS)
        if (place == bin).any()
    ]


def _error(confidences: Array, scores: Array) -> float:
    return sum(count * abs(confidence - score) for confidence, score, count in _bins(confidences, scores)) / len(scores)

"""The figure that methods are compared by, and the figures that can be tested over images.

A figure that can be tested consists of its value and the effect of every sample on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.reading import RunFolder, Scores
from velm_lightning.compare.student import Array
from velm_lightning.errors import InputError

COUNTS = ("samples", "without_references")
"""Entries of a record's scores that are not figures."""

MEAN_SCORE = "mean sample score"
"""The figure that is tested if the one asked for cannot be computed from single samples."""


class Measured(NamedTuple):
    """One figure of one run.

    Attributes:
        value: the figure.
        effects: (N,) its derivative by the weight of each sample. They sum to 0, and the variance of their sums by
            image is the variance of the figure over images (the infinitesimal jackknife, Efron 1982).
    """

    value: float
    effects: Array


def _mean(values: Array) -> Measured:
    """Return the mean of the values that are not NaN; a NaN has no effect on it."""
    valid = ~np.isnan(values)
    if not valid.any():
        return Measured(float("nan"), np.zeros(len(values)))
    mean = float(values[valid].mean())
    return Measured(mean, np.where(valid, values - mean, 0.0) / valid.sum())


def mean_score(scores: Scores) -> Measured:
    """Return the mean of the samples' scores."""
    return _mean(scores.values)


def mean_loss(scores: Scores) -> Measured:
    """Return the mean of the samples' losses, without samples that have none."""
    return _mean(scores.losses)


def macro_f1(scores: Scores) -> Measured:
    """Return the plain mean of the classes' F1, NaN unless every sample has one label; see ``metrics.macro_f1``.

    F1 of a class is 2 TP / (samples of the class + predictions of it), so that a sample changes the F1 of its own class
    and of the class that was predicted.
    """
    if not scores.keys or any(len(labels) != 1 for labels in scores.references):
        return Measured(float("nan"), np.zeros(len(scores.keys)))
    classes, index = np.unique(
        np.array([*scores.predictions, *(labels[0] for labels in scores.references)]), return_inverse=True
    )
    predicted, true = index.reshape(2, -1)  # (N,) each
    hit = (predicted == true).astype(float)
    size = (np.bincount(predicted, minlength=len(classes)) + np.bincount(true, minlength=len(classes))).astype(float)
    f1 = 2 * np.bincount(true, hit, len(classes)) / size  # (K,), never 0 / 0: each class occurs
    effects = (hit - f1[true]) / size[true] + (hit - f1[predicted]) / size[predicted]
    return Measured(float(f1.mean()), effects / len(classes))


Measure = Callable[[Scores], Measured]
_MEASURES: dict[str, Measure] = {"loss": mean_loss, "macro_f1": macro_f1}


class Metric(NamedTuple):
    """The figure that methods are compared by.

    Attributes:
        name: its name in ``run.json``.
        sign: 1 if higher is better, -1 if lower is.
        why: the reason for the choice, shown in the notes.
    """

    name: str
    sign: int
    why: str


class Tested(NamedTuple):
    """The figure whose differences are tested.

    Attributes:
        name: the name of the metric, or ``MEAN_SCORE``.
        sign: 1 if higher values of this figure are better, -1 if lower values are.
        measure: computes the figure from the samples of a run.
    """

    name: str
    sign: int
    measure: Measure


def tested_figure(metric: Metric, scores: Sequence[Scores], figures: Sequence[float]) -> Tested:
    """Return the figure that is tested when methods are compared by ``metric``.

    It is the metric itself if it can be computed from single samples, else the mean sample score, of which higher
    values are better whatever the direction of the metric.

    Args:
        metric: the figure that methods are compared by.
        scores: the samples of each run.
        figures: the metric of each run according to its record. A figure computed from the samples must equal it.
    """
    for measure in (_MEASURES.get(metric.name), mean_score):
        if measure and np.allclose([measure(samples).value for samples in scores], figures, rtol=1e-6, atol=1e-6):
            return Tested(metric.name, metric.sign, measure)
    return Tested(MEAN_SCORE, 1, mean_score)


_LOWER = ("loss", "rank", "perplexity", "error", "distance", "fid", "nll", "mse", "mae", "wer", "ter")


def lower_is_better(name: str) -> bool:
    """Return whether lower values of a figure are better, by the last word of its name without an argument.

    Example:
        >>> lower_is_better("text_to_image_median_rank"), lower_is_better("FID(judge)"), lower_is_better("text_r1")
        (True, True, False)
    """
    name = name.partition("(")[0].lower()
    return name.endswith(_LOWER[:3]) or re.split(r"[^a-z0-9]+", name)[-1] in _LOWER


def metric_of(runs: Sequence[RunFolder], split: str, name: str | None = None) -> Metric:
    """Return the figure that the runs monitor, or the one with a given name.

    Args:
        runs: the runs.
        split: the split whose figures are compared.
        name: the name of the figure. By default the one by which all runs chose their checkpoint if each has it on
            the split, else ``score``.

    Raises:
        InputError: If a run does not have the figure.
    """
    monitored = {run.monitored for run in runs}
    shared = [figure for figure in runs[0].record["scores"][split] if all(_has(run, split, figure) for run in runs)]
    if name is not None:
        name = name.removeprefix(f"{split}/")
        if name not in shared:
            raise InputError(
                f"--metric {name} is not among the figures of every run on {split}: {', '.join(shared)}; choose one"
            )
        return Metric(name, -1 if (name, True) in monitored or lower_is_better(name) else 1, "chosen by --metric")
    if len(monitored) == 1:
        ((name, lower),) = monitored
        if name in shared:
            return Metric(name, -1 if lower else 1, "the figure by which the runs chose their checkpoints")
    if "score" not in shared:
        raise InputError(
            f"not every run has a score on {split}; choose one of the figures that all runs have by --metric: "
            f"{', '.join(shared) or 'there are none'}"
        )
    names = ", ".join(sorted({monitor for monitor, _ in monitored}))
    why = f"which some of them lack on {split}" if len(monitored) == 1 else "which is not the same figure for all"
    return Metric("score", 1, f"the runs monitor {names}, {why}; choose another by --metric")


def _has(run: RunFolder, split: str, figure: str) -> bool:
    return figure not in COUNTS and figure in run.record["scores"].get(split, {})

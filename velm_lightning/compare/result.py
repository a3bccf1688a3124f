"""Defines the result of one method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.grouping import Method
from velm_lightning.compare.modality_reliance import ModalityReliance
from velm_lightning.compare.statistics import Interval


class Result(NamedTuple):
    """The result of one method.

    Attributes:
        method: the method with its runs.
        score: the mean over seeds of the figure that is compared, with its interval over seeds, or over images if
            there is one seed.
        tested: the mean over seeds of the figure whose differences are tested.
        validation: the mean over seeds of the figure that is compared, on the validation split.
        figures: the means of all figures of the split.
        groups: the tested figure of each group of samples, its mean over seeds with an interval.
        floors: the figure that is compared for the majority answer and other answers without a model, by name.
        costs: the mean costs by their names in ``COSTS``.
        probe: the reliance on each modality; empty unless all runs were probed.
    """

    method: Method
    score: Interval
    tested: float
    validation: float
    figures: dict[str, float]
    groups: dict[str, Interval]
    floors: dict[str, float]
    costs: dict[str, float]
    probe: dict[str, ModalityReliance]


def mean(values: Sequence[float]) -> float:
    """Return the mean as a plain number."""
    return float(np.mean(values))

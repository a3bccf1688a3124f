"""The batch size, the number of steps and the evaluations that ``velm init`` proposes, from the number of samples."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

STEPS = 60
"""Steps for data of one batch; they grow with the square root of the number of batches."""
_EVALUATIONS = 16
PATIENCE = 4
"""Evaluations without a better score after which training stops."""


class Budget(NamedTuple):
    """How long a run trains.

    Attributes:
        batch_size: Samples per step.
        steps: Optimiser steps, unless early stopping ends the run sooner.
        passes: How often a sample is seen.
        interval: Arguments of the trainer that set the time between evaluations.
    """

    batch_size: int
    steps: int
    passes: float
    interval: dict[str, Any]

    def describe(self) -> str:
        """Return a sentence for the user."""
        passed = f"{self.passes:.0f} passes" if self.passes >= 2 else f"{self.passes:.1f} of a pass"
        return (
            f"steps: {self.steps:,} of {self.batch_size} samples, about {passed} over the data; training stops sooner "
            f"if {PATIENCE} evaluations bring no better score"
        )


def budget(samples: int, contrastive: bool) -> Budget:
    """Return the budget for a number of training samples.

    Args:
        samples: Number of training samples.
        contrastive: Whether the other samples of a batch are the wrong answers, so that larger batches teach more.
    """
    size = 64 if samples >= 2000 else 32 if samples >= 500 else 16
    size *= 2 if contrastive else 1
    batches = max(1, math.ceil(samples / size))
    steps = max(1, round(STEPS * math.sqrt(batches)))
    every = steps / _EVALUATIONS
    if (parts := round(batches / every)) > 1:
        interval: dict[str, Any] = {"val_check_interval": round(1 / parts, 4)}
    else:
        interval = {"check_val_every_n_epoch": max(1, round(every / batches))}
    return Budget(size, steps, steps / batches, interval)

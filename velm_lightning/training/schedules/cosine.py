"""The cosine schedule, the default."""

from __future__ import annotations

import math

from typing_extensions import override

from velm_lightning.training.schedules.base import Schedule


class Cosine(Schedule):
    """A linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017, without restarts).

    Args:
        warmup_ratio: share of all optimiser steps over which the rate rises; at least one step.

    Example:
        >>> factor = Cosine(warmup_ratio=0.1).plan(100)
        >>> [round(factor(step), 3) for step in (0, 9, 10, 55, 100)]
        [0.1, 1.0, 1.0, 0.5, 0.0]
    """

    @override
    def decay(self, progress: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * progress))

"""The constant schedule."""

from __future__ import annotations

from typing_extensions import override

from velm_lightning.training.schedules.base import Schedule


class Constant(Schedule):
    """A linear warm-up, then the peak learning rate until the end.

    Args:
        warmup_ratio: share of all optimiser steps over which the rate rises; at least one step.

    Example:
        >>> factor = Constant(warmup_ratio=0.2).plan(10)
        >>> [factor(step) for step in (0, 1, 2, 9)]
        [0.5, 1.0, 1.0, 1.0]
    """

    @override
    def decay(self, progress: float) -> float:
        return 1.0

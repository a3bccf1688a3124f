"""The linear schedule."""

from __future__ import annotations

from typing_extensions import override

from velm_lightning.training.schedules.base import Schedule


class LinearDecay(Schedule):
    """A linear warm-up, then a linear decay to zero, as BERT was trained (Devlin et al. 2019).

    Args:
        warmup_ratio: share of all optimiser steps over which the rate rises; at least one step.

    Example:
        >>> factor = LinearDecay(warmup_ratio=0.2).plan(10)
        >>> [factor(step) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    @override
    def decay(self, progress: float) -> float:
        return 1 - progress

"""A schedule of a user's own: one class in one file."""

import math

from velm_lightning.training import Schedule


class CosineRestarts(Schedule):
    """Cosines from the peak to zero (Loshchilov & Hutter 2017).

    Args:
        warmup_ratio: share of the steps over which the rate rises.
        cycles: how many cosines.
    """

    def __init__(self, warmup_ratio: float = 0.05, cycles: int = 2) -> None:
        super().__init__(warmup_ratio)
        self.cycles = cycles

    def decay(self, progress: float) -> float:
        """Return the factor of the peak rate."""
        return 0.5 * (1 + math.cos(math.pi * (progress * self.cycles % 1.0)))

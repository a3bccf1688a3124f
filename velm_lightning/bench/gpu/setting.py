"""What all cases of a run share: the size of the run, and the speed that the card can reach."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import torch

from velm_lightning.bench.gpu.models import Models, models
from velm_lightning.bench.gpu.peaks import published_peak
from velm_lightning.bench.machine import device, matmul_speed


class Setting:
    """The models and repetitions of a run.

    Args:
        small: whether models and repetitions are tiny, so that a CPU runs everything in one to two minutes.
        folder: an empty folder for files of the run.

    Attributes:
        models: the models that are measured.
        batch_size: samples of a training step.
        turns: number of repetitions.
        steps: training steps per repetition.
    """

    def __init__(self, small: bool, folder: Path) -> None:
        self.small, self.folder, self.device = small, folder, device()
        self.models: Models = models(small)
        self.batch_size, self.turns, self.steps = (2, 2, 1) if small else (64, 10, 3)

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"

    @cached_property
    def published(self) -> float | None:
        """FLOP/s that the manufacturer of the card publishes; None if unknown."""
        return published_peak(torch.cuda.get_device_name()) if self.cuda else None

    @cached_property
    def reached(self) -> float:
        """FLOP/s of large matrix products in bf16: the best of several repetitions."""
        return max(matmul_speed(torch.bfloat16, 256 if self.small else None) for _ in range(self.turns))

    def describe_peaks(self) -> str:
        """Return both peaks in words."""
        stated = f"{self.published / 1e12:.0f} TFLOP/s" if self.published else "unknown card, so none"
        return f"dense bf16 peak: published {stated}, reached in matrix products {self.reached / 1e12:.4g} TFLOP/s"

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context of bf16 autocast."""
        return torch.autocast(self.device.type, torch.bfloat16)


def count_syncs(call: Callable[[], object]) -> int | None:
    """Return how often ``call`` makes the host wait for the GPU; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)

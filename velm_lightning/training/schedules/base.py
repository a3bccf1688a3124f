"""The base class of learning-rate schedules, and a schedule that is planned for a number of steps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from velm_lightning.errors import within
from velm_lightning.io.configurable import Configurable, to_config


class Schedule(Configurable, ABC):
    """A linear warm-up to the peak learning rate, and then the ``decay`` of a subclass.

    Args:
        warmup_ratio: share of all optimiser steps over which the rate rises; at least one step.

    Raises:
        InputError: ``warmup_ratio`` is not between 0 and 1.

    Example:
        >>> class Halved(Schedule):
        ...     def decay(self, progress):
        ...         return 1.0 if progress < 0.5 else 0.5
        >>> factor = Halved(warmup_ratio=0.2).plan(10)
        >>> [factor(step) for step in range(10)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    """

    def __init__(self, warmup_ratio: float = 0.05) -> None:
        within(0, 1, "optimization.schedule", warmup_ratio=warmup_ratio)
        self.warmup_ratio = warmup_ratio

    @abstractmethod
    def decay(self, progress: float) -> float:
        """Return the factor of the peak rate after ``progress``, between 0 and 1, of the steps after the warm-up."""

    def plan(self, steps: float) -> PlannedSchedule:
        """Return the schedule of a run of ``steps`` optimiser steps; if infinite, the rate stays at its peak."""
        warmup = max(1, round(self.warmup_ratio * steps)) if math.isfinite(steps) else 1
        return PlannedSchedule(self.decay, warmup, steps, to_config(self))


class PlannedSchedule:
    """The factor of the peak learning rate per step, for ``LambdaLR``.

    Its attributes are plain values, which the scheduler saves in checkpoints: a resumed run follows the schedule that
    it was started with, even if the number of steps has changed since.

    Args:
        decay: see ``Schedule.decay``.
        warmup: number of steps over which the rate rises.
        steps: total number of steps; if infinite, the rate stays constant after the warm-up.
        config: the schedule as plain data.
    """

    __slots__ = ("__dict__", "decay")  # `decay` is not in `__dict__`, which is what the scheduler saves

    def __init__(self, decay: Callable[[float], float], warmup: int, steps: float, config: Any) -> None:
        self.decay = decay
        self.warmup, self.steps = warmup, steps
        self.begin, self.level = warmup, 1.0
        self.plan: Any = [warmup, steps, config]  # as configured

    def __call__(self, step: int) -> float:
        """Return the factor of the peak rate at ``step``."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if not math.isfinite(self.steps):
            return self.level
        progress = (step - self.begin) / max(1, self.steps - self.begin)
        return self.level * self.decay(min(1.0, progress))

    def __str__(self) -> str:
        """Return the plan, such as ``Cosine(warmup_ratio=0.05) over 100 steps, 5 of them warm-up``."""
        warmup, steps, config = self.plan
        arguments = ", ".join(f"{name}={value}" for name, value in config["init_args"].items())
        name = config["class_path"].rpartition(".")[2]
        return f"{name}({arguments}) over {steps:g} steps, {warmup} of them warm-up"

    def continued(self, step: int, planned: PlannedSchedule) -> PlannedSchedule:
        """Return a schedule that continues this one at ``step`` without a jump and ends when ``planned`` does."""
        schedule = PlannedSchedule(planned.decay, self.warmup, planned.steps, None)
        schedule.begin = max(step, self.warmup)
        schedule.level, schedule.plan = self(schedule.begin), planned.plan
        return schedule

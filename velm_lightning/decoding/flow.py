"""Integration of a velocity field from noise to data; independent of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from velm_lightning.errors import at_least, within
from velm_lightning.io.configurable import Configurable
from velm_lightning.io.seeding import stable_generator

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Maps samples (B, …) and times (B,), 0 for noise and 1 for data, to velocities (B, …)."""


class Flow(Configurable):
    """Integrates a flow (Lipman et al. 2023; Liu et al. 2023) in equal steps, with classifier-free guidance.

    Args:
        steps: the number of steps.
        guidance: the weight of the difference between the conditional and the unconditional velocity: 1 is the
            conditional velocity, 0 the unconditional one (Ho & Salimans 2022).
        method: ``euler``, of first order, or ``midpoint``, of second order, with two velocities per step. Neither
            evaluates the velocity at time 1, at which that of a model that predicts data is undefined.

    Raises:
        InputError: ``steps`` is below 1, or ``guidance`` is not finite.
    """

    def __init__(self, steps: int = 12, guidance: float = 2.0, method: Literal["euler", "midpoint"] = "euler") -> None:
        at_least(1, "flow", steps=steps)
        within(-math.inf, math.inf, "flow", guidance=guidance)
        self.steps, self.guidance, self.method = steps, guidance, method

    def __call__(self, conditional: Velocity, unconditional: Velocity, noise: Tensor) -> Tensor:
        """Return the samples (B, …) at time 1 that ``noise`` (B, …) leads to."""
        x, size = noise, 1 / self.steps
        for step in range(self.steps):
            start = x.new_full(x.shape[:1], step * size)
            v = self._velocity(conditional, unconditional, x, start)
            if self.method == "midpoint":
                v = self._velocity(conditional, unconditional, x + v * (size / 2), start + size / 2)
            x = x + v * size
        return x

    def _velocity(self, conditional: Velocity, unconditional: Velocity, x: Tensor, time: Tensor) -> Tensor:
        if self.guidance == 1:
            return conditional(x, time)
        free = unconditional(x, time)
        return free if self.guidance == 0 else free + self.guidance * (conditional(x, time) - free)


def between(noise: Tensor, data: Tensor, time: Tensor) -> Tensor:
    """Return the samples (B, …) at ``time`` (B,) on the straight line from ``noise`` to ``data``."""
    share = time.view(-1, *[1] * (data.ndim - 1))
    return (1 - share) * noise + share * data


def keyed_noise(keys: Sequence[str], shape: tuple[int, ...]) -> Tensor:
    """Return standard normal noise (B, *shape); the noise of a sample depends only on its key."""
    return torch.stack([torch.randn(shape, generator=stable_generator(key)) for key in keys])


def keyed_times(keys: Sequence[str]) -> Tensor:
    """Return times (B,) between 0 and 1; each depends only on its key."""
    return torch.cat([torch.rand(1, generator=stable_generator(f"time of {key}")) for key in keys])

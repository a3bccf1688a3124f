"""From noise to a sample along a velocity field; knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from velm_lightning.io.configurable import Configurable
from velm_lightning.io.seeding import stable_generator
from velm_lightning.types import InputError

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Where samples (B, …) go at times (B,), 0 for noise and 1 for data: velocities (B, …)."""


class Flow(Configurable):
    """Follows a flow (Lipman et al. 2023; Liu et al. 2023) in equal steps, with classifier-free guidance.

    Args:
        steps: number of steps.
        guidance: how far to go in the direction in which the condition changes the velocity: 1 is the conditional
            velocity itself, 0 the unconditional one (Ho & Salimans 2022).
        method: ``euler``, of first order, or ``midpoint``, of second, which asks for two velocities a step. Neither
            asks for one at time 1, where that of a model which predicts data is not defined.

    Raises:
        InputError: there is no step.
    """

    def __init__(self, steps: int = 12, guidance: float = 2.0, method: Literal["euler", "midpoint"] = "euler") -> None:
        if steps < 1:
            raise InputError(f"flow.steps={steps}: take at least 1 step")
        self.steps, self.guidance, self.method = steps, guidance, method

    def __call__(self, conditional: Velocity, unconditional: Velocity, noise: Tensor) -> Tensor:
        """Return where ``noise`` (B, …) arrives at time 1."""
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
    """Return the samples (B, …) that lie at ``time`` (B,) on the straight way from ``noise`` to ``data``."""
    share = time.view(-1, *[1] * (data.ndim - 1))
    return (1 - share) * noise + share * data


def keyed_noise(keys: Sequence[str], shape: tuple[int, ...]) -> Tensor:
    """Return standard normal noise (B, *shape), each sample's a function of its key alone."""
    return torch.stack([torch.randn(shape, generator=stable_generator(key)) for key in keys])


def keyed_times(keys: Sequence[str]) -> Tensor:
    """Return times (B,) between 0 and 1, each a function of its key alone."""
    return torch.cat([torch.rand(1, generator=stable_generator(f"time of {key}")) for key in keys])

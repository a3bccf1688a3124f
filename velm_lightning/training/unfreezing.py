"""Pretrained encoders that begin to learn from the top, one section after another."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim import Optimizer

from velm_lightning.encoders.base import Encoder
from velm_lightning.types import InputError


class GradualUnfreezing(Callback):
    """Lets the last section of every pretrained encoder learn first, then the one before (Howard & Ruder 2018).

    Sections that wait stay in evaluation mode, and their gradients are dropped before the optimiser's step: they are
    computed all the same, so that several processes agree on which there are. What is frozen for good stays frozen.

    Args:
        every: epochs from one section to the next.
        start: epoch, counted from 0, in which the last section begins to learn.

    Raises:
        InputError: ``every`` or ``start`` is out of its range, or no pretrained encoder may learn.
    """

    def __init__(self, every: int = 1, start: int = 1) -> None:
        if every < 1 or start < 0:
            raise InputError(f"GradualUnfreezing: every={every} must be at least 1, start={start} at least 0")
        self.every, self.start = every, start
        self.waiting: list[nn.Parameter] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to wait for nothing."""
        if not _learning(pl_module):
            raise InputError("GradualUnfreezing: no pretrained encoder may learn: raise `trainable` of one")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide who waits in this epoch."""
        opened = max(0, (trainer.current_epoch - self.start) // self.every + 1)
        self.waiting = []
        for encoder in _learning(pl_module):
            sections = list(encoder.layer_groups)
            held = sections[: max(0, len(sections) - opened)]
            self.waiting += [parameter for section in held for parameter in section.parameters()]
            encoder.keep(held + [part for part in sections[len(held) :] if _frozen(part)])

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Drop the gradients of those who wait."""
        for parameter in self.waiting:
            parameter.grad = None


def _learning(model: Any) -> list[Encoder]:
    return [part for part in model.modules() if isinstance(part, Encoder) and part.pretrained and not part.frozen]


def _frozen(part: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in part.parameters())

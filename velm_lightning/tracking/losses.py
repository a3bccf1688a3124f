"""Losses that are no numbers: found before they get into the weights."""

from __future__ import annotations

from typing import Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from velm_lightning.tasks.rows import everywhere
from velm_lightning.tracking.ending import agreed
from velm_lightning.tracking.train_log import logged_step
from velm_lightning.types import Batch, InputError


class Losses(Callback):
    """Finds a loss that is no finite number before it gets into the weights.

    All processes leave out the step together, or stop together.

    Args:
        on_nan: ``stop`` ends the run with the step, the samples and the learning rate; ``skip`` leaves the step out.

    Attributes:
        skipped: steps left out so far.
    """

    def __init__(self, on_nan: Literal["stop", "skip"] = "stop") -> None:
        self.on_nan, self.skipped = on_nan, 0
        self._losses: list[tuple[tuple[str, ...], Tensor]] = []
        self._keys: tuple[str, ...] = ()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Know the samples."""
        self._keys = batch.keys

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Know the loss; there are several before one step where gradients are accumulated."""
        self._losses.append((self._keys, loss.detach()))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at the losses of this step.

        Raises:
            InputError: one of them is not finite, in this process or in another.
        """
        bad = [(keys, float(loss)) for keys, loss in self._losses if not torch.isfinite(loss)]
        self._losses = []
        if not agreed(len(bad), trainer):
            return
        rate = optimizer.param_groups[0]["lr"]
        mine = [f"{loss} of {shown(keys)}" for keys, loss in bad]
        where = " and ".join(one for part in everywhere(mine) for one in part)  # whoever ends first tells all
        told = f"the loss of step {trainer.global_step} is not finite: {where}; learning rate {rate:.3g}"
        if self.on_nan == "stop":
            raise InputError(f"{told}: lower the rate, look at these samples, or leave the step out by --on_nan skip")
        optimizer.zero_grad(set_to_none=True)  # an optimiser leaves alone what has no gradient
        self.skipped += 1
        if trainer.is_global_zero:
            print(f"left out: {told}", flush=True)
        for logger in trainer.loggers:
            logger.log_metrics({"train/skipped_steps": self.skipped}, logged_step(trainer))

    def state_dict(self) -> dict[str, int]:
        """See ``Callback``."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """See ``Callback``."""
        self.skipped = state_dict["skipped"]


def shown(keys: tuple[str, ...]) -> str:
    """Return some of the keys of a batch."""
    return ", ".join(keys[:8]) + (f" … ({len(keys)} samples)" if len(keys) > 8 else "")

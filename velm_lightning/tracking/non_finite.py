"""Losses and gradients that are no numbers: found before they get into the weights."""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from velm_lightning.tasks.rows import all_gather_objects
from velm_lightning.tracking.shutdown import agreed
from velm_lightning.tracking.train_log import logged_step
from velm_lightning.types import Batch, InputError

NAMED = 3
"""Most parameters that are named for their gradients."""


class NonFiniteLossGuard(Callback):
    """Finds a loss, or a gradient of a finite loss, that is no finite number before it gets into the weights.

    All processes leave out the step together, or stop together. Gradients are seen by their norm, which clipping needs
    anyway; it is computed without clipping too, for which every gradient is read once more. With a gradient scaler
    (precision ``16-mixed``) only losses are looked at: infinite gradients are how a scaler finds its scale, and it
    leaves out such steps by itself.

    Args:
        on_nan: ``stop`` ends the run with the step, the samples and the learning rate; ``skip`` leaves the step out.

    Attributes:
        skipped: steps left out so far.
    """

    def __init__(self, on_nan: Literal["stop", "skip"] = "stop") -> None:
        self.on_nan, self.skipped = on_nan, 0
        self._keys: list[tuple[str, ...]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget a step that was broken off."""
        self._keys = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Know the samples of each micro-batch of the step."""
        self._keys.append(batch.keys)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at the losses and the gradients of this step.

        Raises:
            InputError: one of them is not finite, in this process or in another.
        """
        keys, self._keys = self._keys, []
        losses, norms = _looked_at(trainer, pl_module)
        fine = torch.stack([value.float() for value in (*losses, *norms)]).isfinite().all()
        if not agreed(int(not fine), trainer):  # the one place where a GPU is waited for
            return
        rate = optimizer.param_groups[0]["lr"]
        told = f"{_told(pl_module, losses, keys, trainer.global_step)}; learning rate {rate:.3g}"
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


def _looked_at(trainer: Trainer, pl_module: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Return the losses of this step's micro-batches, and the norm of its gradients unless they are scaled."""
    scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
    return pl_module.step_mean.losses, [] if scaled else [pl_module.gradient_norm()]


def _told(pl_module: LightningModule, losses: list[Tensor], keys: list[tuple[str, ...]], step: int) -> str:
    """Return what is not finite in which process, to all of them: whoever ends first tells all."""
    values = [float(loss) for loss in losses]
    mine = [f"{loss} of {shown(names)}" for loss, names in zip(values, keys, strict=True) if not isfinite(loss)]
    parts = all_gather_objects((mine, [name for names in keys for name in names]))
    if bad := [one for found, _ in parts for one in found]:
        return f"the loss of step {step} is not finite: {' and '.join(bad)}"
    odd = [name for name, p in pl_module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    more = f" … ({len(odd)} parameters)" if len(odd) > NAMED else ""
    samples = shown(tuple(name for _, names in parts for name in names))
    return (
        f"the loss of step {step} is finite and its gradient is not, in {', '.join(odd[:NAMED]) or 'its norm'}{more}: "
        f"the samples are {samples}"
    )


def shown(keys: tuple[str, ...]) -> str:
    """Return some of the keys of a batch."""
    return ", ".join(keys[:8]) + (f" … ({len(keys)} samples)" if len(keys) > 8 else "")

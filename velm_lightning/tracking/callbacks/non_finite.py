"""Detects losses and gradients that are not finite before the optimiser applies them."""

from __future__ import annotations

import logging
from math import isfinite
from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from typing_extensions import override

from velm_lightning.tasks.rows import all_gather_objects
from velm_lightning.tracking.callbacks.train_log import logged_step
from velm_lightning.tracking.shutdown import agreed
from velm_lightning.types import Batch, InputError

_log = logging.getLogger(__name__)

NAMED = 3
"""Largest number of parameters that a message names."""


class NonFiniteLossGuard(Callback):
    """Checks before each optimiser step that the loss and the norm of its gradients are finite.

    All processes skip the step together, or stop together. Clipping computes the norm of the gradients anyway; without
    clipping, it costs one more pass over the gradients. With a gradient scaler (precision ``16-mixed``) only losses are
    checked: a scaler provokes infinite gradients to find its scale, and skips such steps itself.

    Args:
        on_nan: ``stop`` ends the run and names step, samples and learning rate; ``skip`` skips the step.

    Attributes:
        skipped: number of steps skipped so far.
    """

    def __init__(self, on_nan: Literal["stop", "skip"] = "stop") -> None:
        self.on_nan, self.skipped = on_nan, 0
        self._keys: list[tuple[str, ...]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard the samples of an interrupted step."""
        self._keys = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Record the sample keys of each micro-batch of the step."""
        self._keys.append(batch.keys)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Check the losses and the gradients of the step.

        Raises:
            InputError: ``on_nan`` is ``stop`` and a loss or gradient is not finite in any process.
        """
        keys, self._keys = self._keys, []
        losses, norms = _losses_and_norms(trainer, pl_module)
        fine = torch.stack([value.float() for value in (*losses, *norms)]).isfinite().all()
        if not agreed(int(not fine), trainer):  # the only synchronisation with a GPU
            return
        rate = optimizer.param_groups[0]["lr"]
        message = f"{_message(pl_module, losses, keys, trainer.global_step)}; learning rate {rate:.3g}"
        if self.on_nan == "stop":
            raise InputError(f"{message}: lower the rate, check these samples, or skip such steps with --on_nan skip")
        optimizer.zero_grad(set_to_none=True)  # an optimiser does not update parameters without gradients
        self.skipped += 1
        if trainer.is_global_zero:
            _log.info("skipped: %s", message)
        for logger in trainer.loggers:
            logger.log_metrics({"train/skipped_steps": self.skipped}, logged_step(trainer))

    @override
    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped}

    @override
    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.skipped = state_dict["skipped"]


def _losses_and_norms(trainer: Trainer, pl_module: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Return the losses of this step's micro-batches, and the norm of its gradients unless they are scaled."""
    scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
    return pl_module.step_mean.losses, [] if scaled else [pl_module.gradient_norm()]


def _message(pl_module: LightningModule, losses: list[Tensor], keys: list[tuple[str, ...]], step: int) -> str:
    """Describe what is not finite, gathered from all processes, as any of them may print it."""
    values = [float(loss) for loss in losses]
    local = [f"{loss} of {listed(names)}" for loss, names in zip(values, keys, strict=True) if not isfinite(loss)]
    parts = all_gather_objects((local, [name for names in keys for name in names]))
    if bad := [loss for losses_, _ in parts for loss in losses_]:
        return f"the loss of step {step} is not finite: {' and '.join(bad)}"
    odd = [name for name, p in pl_module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    more = f" … ({len(odd)} parameters)" if len(odd) > NAMED else ""
    samples = listed(tuple(name for _, names in parts for name in names))
    return (
        f"the loss of step {step} is finite and its gradient is not, in {', '.join(odd[:NAMED]) or 'its norm'}{more}: "
        f"the samples are {samples}"
    )


def listed(keys: tuple[str, ...]) -> str:
    """Return the first keys of a batch and their number, separated by commas."""
    return ", ".join(keys[:8]) + (f" … ({len(keys)} samples)" if len(keys) > 8 else "")

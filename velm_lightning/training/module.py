"""The LightningModule base of every fusion: steps, evaluation, optimisation and checkpoint hooks."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import torch
from lightning import LightningModule
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.checkpoints import checkpoint
from velm_lightning.checkpoints.start_from import InitReport, start_from
from velm_lightning.errors import at_least, within
from velm_lightning.io.configurable import Configurable, rebuilding
from velm_lightning.io.paths import user_path
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import gather_rows
from velm_lightning.training.optimization import Optimization
from velm_lightning.training.step_mean import StepMean
from velm_lightning.types import Batch, InputError, Prediction


class TrainingModule(Configurable, LightningModule, ABC):
    """Trains and evaluates a model that satisfies ``FusionProtocol`` and has a ``task``.

    A subclass supplies both; this class makes no assumption about how the model combines image and text.

    Args:
        optimization: optimiser and learning-rate schedule; by default ``Optimization()``.
        init_from: checkpoint whose weights initialise a new training wherever they fit; see ``start_from``.

    Attributes:
        task: head, loss and metrics; set by the subclass.
        rows: predictions of the current or last evaluation; all processes hold the complete table when it has ended.
        step_mean: losses of the current optimiser step.
        init_report: report of the weights that ``init_from`` supplied; None if it was not used.
    """

    task: Task

    def __init__(self, optimization: Optimization | None = None, init_from: Path | None = None) -> None:
        super().__init__()
        self.optimization = optimization or Optimization()
        # A rebuilt model gets its weights from its own checkpoint.
        self.init_from = None if rebuilding() or init_from is None else user_path(init_from)
        self.init_report: InitReport | None = None
        self.rows: list[Prediction] = []
        self.step_mean = StepMean()
        self.grad_norm: Tensor | None = None

    @property
    def _fusion(self) -> FusionProtocol:
        return cast(FusionProtocol, self)

    # Training steps. They log nothing if a callback logs the loss: `self.log` takes longer than a small model's layer.

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one micro-batch, weighted by ``StepMean``.

        An empty micro-batch has the loss 0 and a gradient of 0 for every trainable parameter.
        """
        if not batch.size:
            zero = torch.stack([p.sum() * 0 for p in self.parameters() if p.requires_grad]).sum()
            return self.step_mean.add(zero, 0, *self._num_parts())
        loss = self.task.loss(self._fusion, batch)
        self._log_loss(loss, batch.size)
        return self.step_mean.add(loss, self.task.num_items(batch), *self._num_parts())

    def _log_loss(self, loss: Tensor, size: int) -> None:
        """Log ``train/loss`` every ``log_every_n_steps``, or its mean per epoch if an epoch has fewer steps."""
        trainer = self._trainer
        if trainer is None or _logged_by_a_callback(trainer, "logs_train_loss"):
            return
        stepwise = trainer.num_training_batches >= trainer.log_every_n_steps  # type: ignore[attr-defined]
        self.log("train/loss", loss.detach(), on_step=stepwise, on_epoch=not stepwise, prog_bar=True, batch_size=size)

    def on_after_backward(self) -> None:
        """Scale the gradients of a complete optimiser step to those of the mean over all its items."""
        if not self.trainer.fit_loop._should_accumulate():
            self.step_mean.complete(self.parameters(), *self._num_parts())

    def _num_parts(self) -> tuple[int, int]:
        """Return the micro-batches per optimiser step and the number of processes; (1, 1) without a trainer."""
        trainer = self._trainer
        return (trainer.accumulate_grad_batches, trainer.world_size) if trainer else (1, 1)

    # Evaluation.

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the predictions of one batch to ``rows``."""
        self.rows += self.predict_step(batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the predictions of one batch to ``rows``."""
        self.rows += self.predict_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Return one prediction per sample of the batch."""
        return self.task.predict(self._fusion, batch) if batch.size else []

    def on_validation_start(self) -> None:
        """Broadcast the buffers of rank 0, so that every rank evaluates with the statistics that are saved."""
        broadcast_buffers(self)

    def on_validation_epoch_start(self) -> None:
        """Clear the predictions of the previous evaluation."""
        self.rows = []

    def on_test_epoch_start(self) -> None:
        """Clear the predictions of the previous evaluation."""
        self.rows = []

    def on_validation_epoch_end(self) -> None:
        """Compute and log the metrics of the validation split."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics of the test split."""
        self._log_metrics("test")

    def gather_predictions(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Gather the predictions of all ranks and complete the table, in the precision of the steps."""
        with self.trainer.precision_plugin.forward_context():
            return self.task.aggregate(self._fusion, gather_rows(rows))

    def _log_metrics(self, split: str) -> None:
        self.rows = self.gather_predictions(self.rows)
        for name, value in self.task.compute_metrics(self.rows).items():
            # Every rank holds the same value, and reducing by the maximum does not change it by rounding. A callback
            # may log the metrics itself, in full precision.
            self.log(
                f"{split}/{name}",
                value,
                reduce_fx="max",
                sync_dist=True,
                prog_bar=name == "score",
                logger=bool(self.trainer.loggers) and not _logged_by_a_callback(self.trainer, "logs_metrics"),
                batch_size=1,
            )

    # Optimisation.

    def setup(self, stage: str) -> None:
        """Prepare the task with the training samples, before callbacks measure the cost of its loss.

        Raises:
            InputError: An argument of the trainer has a value that Lightning accepts and no training can have.
        """
        if stage == "fit" and self._trainer is not None:
            _check_arguments(self._trainer)
        data: Any = getattr(self._trainer, "datamodule", None)
        if stage == "fit" and data is not None:
            self.task.prepare(data.samples("train"))

    def on_fit_start(self) -> None:
        """Load ``init_from``, unless a run is resumed."""
        self.step_mean = StepMean()
        if self.init_from is not None and not self.trainer.ckpt_path:
            self.init_report = start_from(self, self.init_from)

    @override
    def configure_optimizers(self) -> Any:
        return self.optimization.configure(self, self.trainer.estimated_stepping_batches)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, but reuse the gradient norm if a callback has already computed it."""
        if gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            nn.utils.clip_grads_with_norm_(self.parameters(), gradient_clip_val, self.gradient_norm())

    def gradient_norm(self) -> Tensor:
        """Return the norm () of all gradients before clipping, computed once per optimiser step."""
        if self.grad_norm is None:
            gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
            self.grad_norm = nn.utils.get_total_norm(gradients)
        return self.grad_norm

    def on_before_zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
        """Discard the gradient norm of the previous optimiser step."""
        self.grad_norm = None

    # Checkpoints.

    def on_save_checkpoint(self, checkpoint_: dict[str, Any]) -> None:
        """Add the configuration of the model, so that it can be rebuilt without its YAML file and data."""
        checkpoint.pack(self, checkpoint_)

    def on_load_checkpoint(self, checkpoint_: dict[str, Any]) -> None:
        """Raise ``InputError`` if the checkpoint belongs to a different model."""
        checkpoint.match(self, checkpoint_)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", allow: Sequence[str] = (), **_: Any
    ) -> Self:
        """Rebuild a model from a checkpoint only; no code in the file is executed.

        Args:
            checkpoint_path: a ``.ckpt`` file of a run.
            map_location: device of the weights.
            allow: packages, in addition to ``velm_lightning``, whose classes the checkpoint may name.

        Raises:
            InputError: the file is missing, truncated, not a checkpoint of this package, or holds another class.
        """
        return checkpoint.load(Path(checkpoint_path), cls, map_location, allow)


_LARGEST = 2**31 - 1


def _check_arguments(trainer: Any) -> None:
    """Raise ``InputError`` if a trainer divides by zero, or its gradients get another sign or too large a factor."""
    interval = trainer.val_check_interval
    at_least(
        1,
        "trainer",
        accumulate_grad_batches=trainer.accumulate_grad_batches,
        check_val_every_n_epoch=trainer.check_val_every_n_epoch,
        val_check_interval=interval if isinstance(interval, int) else None,
    )
    at_least(0, "trainer", log_every_n_steps=trainer.log_every_n_steps)
    if trainer.accumulate_grad_batches > _LARGEST:
        raise InputError(
            f"trainer.accumulate_grad_batches must be at most {_LARGEST}, got {trainer.accumulate_grad_batches}"
        )
    for stop in trainer.early_stopping_callbacks:
        if isinstance(stop, EarlyStopping):
            at_least(0, "early_stopping", patience=stop.patience)
            within(-math.inf, math.inf, "early_stopping", min_delta=stop.min_delta)
    clip = trainer.gradient_clip_val
    if clip is not None and not clip >= 0:  # also not a number
        raise InputError(f"trainer.gradient_clip_val must be at least 0, got {clip}")


def _logged_by_a_callback(trainer: Any, flag: str) -> bool:
    """Return whether a callback of the trainer logs the values that ``flag`` stands for."""
    return any(getattr(callback, flag, False) for callback in trainer.callbacks)


def broadcast_buffers(module: nn.Module) -> None:
    """Copy the buffers of rank 0 to every rank; does nothing outside of distributed training."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)

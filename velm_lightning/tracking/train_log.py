"""What is told of training while it goes on: to the loggers, and beside the progress bar."""

from __future__ import annotations

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from torch import Tensor

from velm_lightning.types import Batch


class TrainLog(Callback):
    """Logs loss, learning rate, gradient norm and throughput every ``log_every_n_steps`` steps, and nothing between.

    The loggers are called directly: ``self.log`` would cost more than a small model's layer at every step.
    """

    def __init__(self) -> None:
        self.samples, self.since = 0, time.perf_counter()
        self.unreadable, self.throughput = 0, 0.0
        self.loss = float("nan")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock: time spent in validation does not count."""
        self.samples, self.since = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch; log where it is time."""
        self.samples += batch.size
        order = getattr(getattr(trainer, "datamodule", None), "order", None)
        self.unreadable += order.batch_size - batch.size if order else 0
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        self.loss = float(outputs["loss"])
        elapsed = time.perf_counter() - self.since
        self.throughput = self.samples * trainer.world_size / elapsed
        self.samples, self.since = 0, time.perf_counter()
        found = {
            "train/loss": self.loss,
            "train/learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train/samples_per_second": self.throughput,
            "epoch": trainer.current_epoch,
        }
        if self.unreadable:
            found["train/unreadable"] = self.unreadable
        norm = getattr(pl_module, "grad_norm", None)
        if isinstance(norm, Tensor):
            found["train/grad_norm"] = float(norm)
        for logger in trainer.loggers:
            logger.log_metrics(found, logged_step(trainer))
            logger.save()


class Progress(RichProgressBar):
    """Lightning's bar, redrawn a few times a second rather than at every step, with the loss that was logged last."""

    def __init__(self, log: TrainLog, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self.train_log = log

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Add the loss."""
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        if self.train_log.loss == self.train_log.loss:
            items["loss"] = round(self.train_log.loss, 4)
        return items


def logged_step(trainer: Trainer) -> int:
    """Return the step that Lightning's own entries carry at this moment."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)

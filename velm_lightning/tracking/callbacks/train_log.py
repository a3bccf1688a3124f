"""Logs the progress of training to the loggers and the progress bar."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from torch import Tensor
from typing_extensions import override

from velm_lightning.nn.distributed import summed
from velm_lightning.tasks.rows import all_gather_objects
from velm_lightning.types import Batch


class TrainLog(Callback):
    """Logs loss, learning rate, gradient norm and throughput every ``log_every_n_steps`` optimiser steps.

    ``train/loss`` is the mean over all items of that one step, in all its micro-batches and processes.
    ``train/samples_per_second`` divides the samples of all processes since the previous row by the training time,
    without evaluation and the writing that follows it.

    The loggers are called directly: ``self.log`` would cost more than a small model's layer at every step.

    Attributes:
        loss: the loss that was logged last.
        epoch_loss: mean loss over all items of the last completed epoch, in all processes; NaN before the first. Losses
            that are not finite are excluded, because their steps are skipped.
        timed_samples: samples of all processes after the first row of this start; the time before it is warm-up.
        timed_seconds: the training time of ``timed_samples``.
    """

    logs_train_loss = True  # the model then does not

    def __init__(self) -> None:
        self.loss = self.epoch_loss = math.nan
        self.timed_samples = self.timed_seconds = self.unreadable = 0.0
        self._step, self._warm, self._clock = 0, False, _Clock()
        self._samples = self._lost = 0  # of this process since the last row
        self._sum: float | Tensor = 0.0  # of this process in this epoch
        self._items: float | Tensor = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting at the step that the run starts or resumes from."""
        self._step = trainer.global_step

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the sums of the current epoch and the count of unreadable samples, of every process."""
        sums = (float(self._sum), float(self._items), self.epoch_loss, self.unreadable, self._lost)
        checkpoint["velm_train_log"] = all_gather_objects(sums)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continue the sums, unless the number of processes has changed."""
        sums = checkpoint.get("velm_train_log", [])
        if trainer.state.fn == "fit" and len(sums) == trainer.world_size:
            self._sum, self._items, self.epoch_loss, self.unreadable, self._lost = sums[trainer.global_rank]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and reset the mean loss at the start of an epoch."""
        self._clock.start()
        self._sum = self._items = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Start the clock again after an evaluation within an epoch."""
        self._clock.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock during an evaluation."""
        self._clock.stop()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the samples of a micro-batch; after an optimiser step, add its loss and log every N steps."""
        order = getattr(getattr(trainer, "datamodule", None), "order", None)
        self._samples += batch.size
        self._lost += order.batch_size - batch.size if order else 0
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._add(pl_module)
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and self._step % every == 0:  # 0 means never
            self._log(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock and compute the mean loss at the end of an epoch."""
        self._clock.stop()
        total, items = _of_all(pl_module, float(self._sum), float(self._items))
        self.epoch_loss = total / items if items else math.nan

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the samples and the time since the last row at the end of training."""
        (samples,) = _of_all(pl_module, self._samples)
        self._time(samples, self._clock.take())

    def _add(self, pl_module: Any) -> None:
        """Add the losses of a step to those of the epoch, without waiting for a GPU."""
        for loss, items in zip(pl_module.step_mean.losses, pl_module.step_mean.items, strict=True):
            finite = loss.isfinite()
            self._sum = self._sum + torch.where(finite, loss * items, 0.0)
            self._items = self._items + finite * items

    def _log(self, trainer: Trainer, pl_module: Any) -> None:
        step, seconds = pl_module.step_mean, self._clock.take()
        total = sum(float(loss) * float(items) for loss, items in zip(step.losses, step.items, strict=True))
        total, items, samples, lost = _of_all(pl_module, total, float(sum(step.items)), self._samples, self._lost)
        self._time(samples, seconds)
        self._samples = self._lost = 0
        self._warm = True
        self.loss = total / items if items else math.nan
        self.unreadable += lost
        metrics = {
            "train/loss": self.loss,
            "train/learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train/samples_per_second": samples / seconds,
            "epoch": trainer.current_epoch,
        }
        if self.unreadable:
            metrics["train/unreadable"] = self.unreadable
        norm = getattr(pl_module, "grad_norm", None)
        if isinstance(norm, Tensor):
            metrics["train/grad_norm"] = float(norm)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, logged_step(trainer))
            logger.save()

    def _time(self, samples: float, seconds: float) -> None:
        if self._warm:
            self.timed_samples += samples
            self.timed_seconds += seconds


class _Clock:
    """A stopwatch that sums the time between its starts and stops."""

    def __init__(self) -> None:
        self._seconds, self._since = 0.0, math.nan

    def start(self) -> None:
        """Start the clock if it does not run."""
        if math.isnan(self._since):
            self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop the clock if it runs."""
        if not math.isnan(self._since):
            self._seconds, self._since = self._seconds + time.perf_counter() - self._since, math.nan

    def take(self) -> float:
        """Return the seconds since the last call, and reset the clock to 0."""
        running = not math.isnan(self._since)
        self.stop()
        seconds, self._seconds = self._seconds, 0.0
        if running:
            self.start()
        return seconds


def _of_all(pl_module: LightningModule, *values: float) -> list[float]:
    """Return the sum of each value over all processes."""
    if pl_module.trainer.world_size == 1:
        return list(values)
    sums: list[float] = summed(torch.tensor(values, dtype=torch.float64, device=pl_module.device)).tolist()
    return sums


class Progress(RichProgressBar):
    """Lightning's progress bar with the last logged loss, redrawn every ``refresh_rate`` steps."""

    def __init__(self, log: TrainLog, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self.train_log = log

    @override
    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        if self.train_log.loss == self.train_log.loss:
            items["loss"] = round(self.train_log.loss, 4)
        return items

    @override
    def _get_train_description(self, current_epoch: int) -> str:
        most = self.trainer.max_epochs  # epochs are counted from 1, as by EpochLines; Lightning counts from 0
        title = f"Epoch {current_epoch + 1}{f'/{most}' if most and most > 0 else ''}"
        return title.ljust(len(self.validation_description))  # a shorter one would flicker


def logged_step(trainer: Trainer) -> int:
    """Return the step that Lightning uses for its own log entries."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)

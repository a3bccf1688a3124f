"""What is told of training while it goes on: to the loggers, and beside the progress bar."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from torch import Tensor

from velm_lightning.nn.distributed import summed
from velm_lightning.types import Batch


class TrainLog(Callback):
    """Logs loss, learning rate, gradient norm and throughput every ``log_every_n_steps`` optimiser steps.

    ``train/loss`` is the mean over all items of that one step, in all its micro-batches and processes.
    ``train/samples_per_second`` divides the samples of all processes since the row before by the time that training
    took; evaluation, and what is written between evaluation and training, are left out.

    The loggers are called directly: ``self.log`` would cost more than a small model's layer at every step.

    Attributes:
        loss: the loss that was logged last.
        epoch_loss: mean loss over all items of the last epoch that came to its end, in all processes; NaN before the
            first. A loss that is not finite is left out, as its step is.
        timed_samples: samples of all processes from the first row on. The time before it, in which everything warms
            up, does not count, in each start of a run.
        timed_seconds: the time that training took for them.
    """

    def __init__(self) -> None:
        self.loss = self.epoch_loss = math.nan
        self.timed_samples = self.timed_seconds = self.unreadable = 0.0
        self._step, self._warm, self._clock = 0, False, _Clock()
        self._samples = self._lost = 0  # of this process since the last row
        self._sum: float | Tensor = 0.0  # of this process in this epoch
        self._items: float | Tensor = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count steps from where the run begins or goes on."""
        self._step = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and forget the losses of the epoch before."""
        self._clock.start()
        self._sum = self._items = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Start the clock again after an evaluation within an epoch."""
        self._clock.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._clock.stop()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the micro-batch; after the last one of a step, count its loss, and log it if it is time."""
        order = getattr(getattr(trainer, "datamodule", None), "order", None)
        self._samples += batch.size
        self._lost += order.batch_size - batch.size if order else 0
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._add(pl_module)
        if self._step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, and compute the mean loss of the epoch."""
        self._clock.stop()
        total, items = _of_all(pl_module, float(self._sum), float(self._items))
        self.epoch_loss = total / items if items else math.nan

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count what was trained after the last row."""
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
        found = {
            "train/loss": self.loss,
            "train/learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train/samples_per_second": samples / seconds,
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

    def _time(self, samples: float, seconds: float) -> None:
        if self._warm:
            self.timed_samples += samples
            self.timed_seconds += seconds


class _Clock:
    """Adds up the time between its starts and stops."""

    def __init__(self) -> None:
        self._seconds, self._since = 0.0, math.nan

    def start(self) -> None:
        """Go on; a clock that runs is left alone."""
        if math.isnan(self._since):
            self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop; a clock that stands is left alone."""
        if not math.isnan(self._since):
            self._seconds, self._since = self._seconds + time.perf_counter() - self._since, math.nan

    def take(self) -> float:
        """Return the seconds since this was last asked, and begin again from 0."""
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
    found: list[float] = summed(torch.tensor(values, dtype=torch.float64, device=pl_module.device)).tolist()
    return found


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

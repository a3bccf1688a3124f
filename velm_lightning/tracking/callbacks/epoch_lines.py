"""One line per epoch, also in a log file: loss, score, whether it is the best, and the time that is left."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from velm_lightning.io.console import span
from velm_lightning.tracking.callbacks.train_log import TrainLog

_log = logging.getLogger(__name__)


class EpochLines(Callback):
    """Prints a line after every epoch of training, and once an estimate of the time of the whole run.

    The times assume that the run is not stopped early.

    Args:
        log: the callback that measures the loss.
        first: seconds of training after which the estimate is printed.
    """

    def __init__(self, log: TrainLog, first: float = 10.0) -> None:
        self.train_log, self.first = log, first
        self._started, self._step, self._estimated, self._evaluated = 0.0, 0, False, False
        self._best: float | None = None
        self._earlier: list[str | None] = []  # messages of early stopping

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a resumed run continues from its best score, with the reasons of earlier stops."""
        self._earlier = [getattr(stop, "stopping_reason_message", None) for stop in trainer.early_stopping_callbacks]
        self._started, self._step = time.monotonic(), trainer.global_step
        best = getattr(trainer.checkpoint_callback, "best_model_score", None)
        self._best = None if best is None else float(best)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Print the estimate once, after ``first`` seconds, unless an epoch has ended before."""
        if self._estimated or time.monotonic() - self._started < self.first:
            return
        self._estimated = True
        if trainer.is_global_zero and (left := self._left(trainer)) is not None:
            whole = span(time.monotonic() - self._started + left)
            _log.info("about %s for %s steps", whole, trainer.estimated_stepping_batches)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the epoch has a score."""
        self._evaluated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch."""
        if trainer.is_global_zero:
            _log.info(self._line(trainer))
        self._estimated, self._evaluated = True, False  # the line has an estimate

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the reason if early stopping has ended the training."""
        if not trainer.is_global_zero or trainer.global_step >= trainer.estimated_stepping_batches:
            return
        for stop in trainer.early_stopping_callbacks:
            if isinstance(stop, EarlyStopping) and (why := _reason(stop, self._earlier)):
                _log.info("stopped early: %s", why)

    def _line(self, trainer: Trainer) -> str:
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        parts = [f"epoch {trainer.current_epoch + 1}{of}", f"step {trainer.global_step}"]
        if not math.isnan(self.train_log.epoch_loss):
            parts.append(f"loss {self.train_log.epoch_loss:.4f}")
        saved = trainer.checkpoint_callback
        if self._evaluated and isinstance(saved, ModelCheckpoint) and saved.monitor in trainer.callback_metrics:
            value = float(trainer.callback_metrics[saved.monitor])
            best = self._best is None or (value > self._best if saved.mode == "max" else value < self._best)
            self._best = value if best else self._best
            parts.append(f"{saved.monitor} {value:.4f}{' (best)' if best else ''}")
        parts.append(span(time.monotonic() - self._started))
        left = self._left(trainer)
        return "  ".join([*parts, f"about {span(left)} left"] if left else parts)

    def _left(self, trainer: Trainer) -> float | None:
        """Return the seconds until the last step at the mean speed so far; None if it cannot be known."""
        done, steps = trainer.global_step - self._step, trainer.estimated_stepping_batches
        if not done or not math.isfinite(steps):
            return None
        return max(0.0, (time.monotonic() - self._started) / done * (steps - trainer.global_step))


def _reason(stop: EarlyStopping, earlier: Sequence[str | None]) -> str | None:
    """Return why early stopping has ended the training; None if it has not, or only before the run was resumed."""
    if stop.wait_count >= max(1, stop.patience):
        return f"{stop.wait_count} evaluations brought no better {stop.monitor}"
    if stop.stopping_reason_message in earlier:
        return None
    reasons = {
        EarlyStoppingReason.STOPPING_THRESHOLD: f"has reached the stopping threshold {stop.stopping_threshold}",
        EarlyStoppingReason.DIVERGENCE_THRESHOLD: f"is beyond the divergence threshold {stop.divergence_threshold}",
        EarlyStoppingReason.NON_FINITE_METRIC: "is not finite",
    }
    why = reasons.get(stop.stopping_reason)
    return why and f"{stop.monitor} {why}"

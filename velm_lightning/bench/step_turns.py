"""Turns of a fit and of a plain PyTorch loop, within one fit, with the time of each."""

from __future__ import annotations

import copy
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn
from typing_extensions import override

from velm_lightning.bench.interleaved_timing import ratios
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.machine import device, wait
from velm_lightning.data import MultimodalData
from velm_lightning.fusion import Fusion
from velm_lightning.tracking import Run, Tracking
from velm_lightning.tracking.callbacks.non_finite import NonFiniteLossGuard
from velm_lightning.tracking.callbacks.train_log import Progress, TrainLog
from velm_lightning.tracking.checkpoint_files import LastCheckpoint
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.quiet import quiet
from velm_lightning.tracking.settings import close_wandb
from velm_lightning.tracking.shutdown import Signals
from velm_lightning.types import Batch

WARM_UP = 2
"""Turns at the start that are not timed."""
STEPS = 1_000_000
"""Number of steps for which the learning-rate schedules are made; no measurement reaches it."""


class Taken(NamedTuple):
    """Elapsed seconds and CPU seconds of this process per step."""

    clock: float
    cpu: float

    @staticmethod
    def now() -> Taken:
        """Return the current times, after the GPU has finished."""
        wait()
        return Taken(time.perf_counter(), time.process_time())

    def until_now(self, steps: int) -> Taken:
        """Return the times per step from this moment to now."""
        end = Taken.now()
        return Taken((end.clock - self.clock) / steps, (end.cpu - self.cpu) / steps)


class Turns(NamedTuple):
    """The times of both sides, one entry per turn."""

    bare: list[Taken]
    velm: list[Taken]

    def ratios(self, field: str) -> list[float]:
        """Return the ratio of velm to the bare loop per turn, of ``clock`` or ``cpu`` times."""
        return ratios(*([getattr(taken, field) for taken in side] for side in (self.velm, self.bare)))


class Limits(NamedTuple):
    """When a measurement ends.

    Attributes:
        turns: least number of turns.
        within: limit on the half width of the interval of the ratio, as a share of the ratio.
        minutes: time after which no turn starts.
    """

    turns: int
    within: float
    minutes: float

    def reached(self, turns: Turns, seconds: float) -> bool:
        """Return whether no more turn is needed, or the time is over, ``seconds`` after the start."""
        if len(turns.bare) < self.turns:
            return False
        return Interval.of(turns.ratios(decisive())).half_width <= self.within or seconds >= 60 * self.minutes


def decisive() -> str:
    """Return the time whose ratio is resolved: that of the clock on a GPU, otherwise CPU time."""
    return "clock" if device().type == "cuda" else "cpu"


def alternate(model: Fusion, data: MultimodalData, steps: int, limits: Limits, bf16: bool = False) -> Turns:
    """Fit a model, with turns of a bare loop over a copy of it, until the limits are reached.

    Args:
        model: the model.
        data: the data of both.
        steps: steps of each side per turn.
        limits: when to stop.
        bf16: whether both sides train under bf16 autocast.
    """
    quiet()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data.transform = model.transform
    alternation = Alternation(BareLoop(copy.deepcopy(model), data, bf16), steps, limits)
    fit(model, data, alternation, bf16)
    return alternation.turns


class BareLoop:
    """A plain loop that trains a model.

    Args:
        model: the model.
        data: its data.
        bf16: whether it trains under bf16 autocast.
    """

    def __init__(self, model: Fusion, data: MultimodalData, bf16: bool) -> None:
        self.model, self.data, self.bf16, self.device = model, data, bf16, device()
        model.to(self.device).train()
        configured = model.optimization.configure(model, STEPS)
        self.optimizer, self.schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        self.batches = self._batches()

    def _batches(self) -> Iterator[Batch]:
        while True:
            yield from self.data.train_dataloader()

    def run(self, steps: int) -> None:
        """Train for some steps."""
        for _ in range(steps):
            batch = next(self.batches).to(self.device)
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                loss = self.model.task.loss(self.model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()


class Alternation(Callback):
    """Runs the bare loop after every few steps of a fit, and times both.

    Args:
        bare: the bare loop.
        steps: steps of each side per turn.
        limits: when the fit is stopped.
    """

    def __init__(self, bare: BareLoop, steps: int, limits: Limits) -> None:
        self.bare, self.steps, self.limits = bare, steps, limits
        self.turns, self.warm_up, self.begun = Turns([], []), WARM_UP, time.monotonic()
        self.started = Taken.now()

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step % self.steps:
            return
        fitted = self.started.until_now(self.steps)
        started = Taken.now()
        self.bare.run(self.steps)
        looped = started.until_now(self.steps)
        self._note(fitted, looped)
        trainer.should_stop = self.limits.reached(self.turns, time.monotonic() - self.begun)
        self.started = Taken.now()

    def _note(self, fitted: Taken, looped: Taken) -> None:
        if self.warm_up:
            self.warm_up -= 1
            return
        self.turns.velm.append(fitted)
        self.turns.bare.append(looped)


def fit(model: Fusion, data: MultimodalData, alternation: Alternation, bf16: bool) -> None:
    """Fit a model with the callbacks and loggers that the command line sets up."""
    log = TrainLog()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        record = Run(Path(folder))
        record.record |= {"id": "bench"}
        wandb = Tracking(experiment="bench", wandb="offline").wandb_logger(record, {})
        signals = Signals(LastCheckpoint(Path(folder) / "last.ckpt"))
        trainer = Trainer(
            max_steps=STEPS,
            log_every_n_steps=10,
            gradient_clip_val=1.0,
            precision="bf16-mixed" if bf16 else "32-true",
            limit_val_batches=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[log, Progress(log), NonFiniteLossGuard(), signals, alternation],
            logger=[MetricsFile(Path(folder) / "metrics.csv"), *([wandb] if wandb else [])],
            accelerator="gpu" if device().type == "cuda" else "cpu",
            devices=1,
        )
        trainer.fit(model, datamodule=data)
        signals.restore()
        close_wandb(record)

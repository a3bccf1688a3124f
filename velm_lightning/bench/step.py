"""Compares a training step of velm, with progress bar and logging, to a plain PyTorch loop over the same batches.

Both take turns within one process, so that other load on the machine affects both, and the ratio is computed per turn.
On a CPU it is the ratio of the CPU times of the process, which does not count the time of other processes; the ratio of
elapsed times is printed next to it. Turns go on until the interval of the ratio is within the limit, or the time is
over.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from torch import nn
from typing_extensions import override

from velm_lightning.bench.interleaved_timing import ratios, summary
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.machine import device, device_name, wait
from velm_lightning.bench.result import Result
from velm_lightning.data import MultimodalData, ShapeScenes
from velm_lightning.encoders import SmallCNN, TransformerTextEncoder
from velm_lightning.fusion import Fusion, InteractiveFusion
from velm_lightning.tasks import Classification
from velm_lightning.tracking import Run, Tracking
from velm_lightning.tracking.callbacks.non_finite import NonFiniteLossGuard
from velm_lightning.tracking.callbacks.train_log import Progress, TrainLog
from velm_lightning.tracking.checkpoint_files import LastCheckpoint
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.quiet import quiet
from velm_lightning.tracking.settings import close_wandb
from velm_lightning.tracking.shutdown import Signals

WARM_UP = 3
"""Steps at the start of a turn that are not timed."""


class Taken(NamedTuple):
    """Elapsed seconds and CPU seconds of this process per step."""

    clock: float
    cpu: float

    @staticmethod
    def now() -> Taken:
        """Return the current times, after the GPU has finished."""
        wait()
        return Taken(time.perf_counter(), time.process_time())

    def until(self, end: Taken, steps: int) -> Taken:
        """Return the times per step from this moment to ``end``."""
        return Taken((end.clock - self.clock) / steps, (end.cpu - self.cpu) / steps)


class Turns(NamedTuple):
    """The times of both sides, one entry per turn."""

    bare: list[Taken]
    velm: list[Taken]

    def ratios(self, field: str) -> list[float]:
        """Return the ratio of velm to the bare loop per turn, of ``clock`` or ``cpu`` times."""
        return ratios(*([getattr(taken, field) for taken in side] for side in (self.velm, self.bare)))


def run(options: argparse.Namespace) -> list[Result]:
    """Return the table of the benchmark."""
    seed_everything(0, verbose=False)
    data = MultimodalData(ShapeScenes(train=600, val=1, test=1), batch_size=options.batch_size)
    model = build(data, options.dim)
    turns = measure(model, data, options.steps, options.turns, options.within / 100, options.minutes)
    return [report(model, turns, options.within / 100)]


def measure(
    model: Fusion, data: MultimodalData, steps: int, least: int, within: float, minutes: float, bf16: bool = False
) -> Turns:
    """Take turns until the interval of the ratio is within ``within`` of it, or ``minutes`` are over.

    Args:
        model: the model that both sides train.
        data: its data.
        steps: steps per turn, of which ``WARM_UP`` are not timed.
        least: least number of turns, after one that warms up.
        within: limit on the half width of the interval, as a share of the ratio.
        minutes: time after which no turn starts.
        bf16: whether both sides train under bf16 autocast.
    """
    quiet()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data.transform = model.transform
    started, turns = time.monotonic(), Turns([], [])
    while True:
        turns.bare.append(bare_turn(model, data, steps, bf16))
        turns.velm.append(velm_turn(model, data, steps, bf16))
        if len(turns.bare) > least:  # the first turn warms up
            timed = Turns(turns.bare[1:], turns.velm[1:])
            narrow = Interval.of(timed.ratios(decisive())).half_width <= within
            if narrow or time.monotonic() - started > 60 * minutes:
                return timed


def decisive() -> str:
    """Return the time whose ratio is resolved: that of the clock on a GPU, otherwise CPU time."""
    return "clock" if device().type == "cuda" else "cpu"


def build(data: MultimodalData, dim: int) -> Fusion:
    """Return the model to train."""
    return InteractiveFusion(
        vocabulary=data.vocabulary,
        image_encoder=SmallCNN(widths=(32, 64, 128), dim=dim),
        text_encoder=TransformerTextEncoder(dim=dim, depth=2, dropout=0.0),
        task=Classification(dropout=0.0),
        dropout=0.0,
    )


def bare_turn(model: Fusion, data: MultimodalData, steps: int, bf16: bool = False) -> Taken:
    """Return the time per step of a plain loop."""
    where = device()
    model.to(where).train()
    configured = model.optimization.configure(model, steps)
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    loader = iter(data.train_dataloader())
    started = Taken.now()
    for step in range(steps):
        if step == WARM_UP:
            started = Taken.now()
        batch = next(loader).to(where)
        optimizer.zero_grad()
        with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
            loss = model.task.loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return started.until(Taken.now(), steps - WARM_UP)


class _Clock(Callback):
    """Measures the time from the end of the last step that warms up to the end of the last step."""

    def __init__(self, steps: int) -> None:
        self.steps, self.marks = steps, dict[int, Taken]()

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step in (WARM_UP, self.steps):
            self.marks[trainer.global_step] = Taken.now()

    @property
    def step(self) -> Taken:
        """The time per step."""
        return self.marks[WARM_UP].until(self.marks[self.steps], self.steps - WARM_UP)


def velm_turn(model: Fusion, data: MultimodalData, steps: int, bf16: bool = False) -> Taken:
    """Return the time per step of a fit with the callbacks and loggers that the command line sets up."""
    clock, log = _Clock(steps), TrainLog()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        record = Run(Path(folder))
        record.record |= {"id": "bench"}
        wandb = Tracking(experiment="bench", wandb="offline").wandb_logger(record, {})
        signals = Signals(LastCheckpoint(Path(folder) / "last.ckpt"))
        trainer = Trainer(
            max_steps=steps,
            log_every_n_steps=10,
            gradient_clip_val=1.0,
            precision="bf16-mixed" if bf16 else "32-true",
            limit_val_batches=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[log, Progress(log), NonFiniteLossGuard(), signals, clock],
            logger=[MetricsFile(Path(folder) / "metrics.csv"), *([wandb] if wandb else [])],
            accelerator="gpu" if device().type == "cuda" else "cpu",
            devices=1,
        )
        trainer.fit(model, datamodule=data)
        signals.restore()
        close_wandb(record)
    return clock.step


def report(model: Fusion, turns: Turns, within: float) -> Result:
    """Return the times, their ratio, the fixed cost of a step, and whether the limit was reached."""
    size = sum(p.numel() for p in model.parameters()) / 1e6
    by_clock, by_cpu = (
        [[1e3 * getattr(taken, field) for taken in side] for side in turns] for field in ("clock", "cpu")
    )
    result = summary(
        f"a training step, {size:.1f}M parameters, {device_name()}",
        {
            "bare loop, ms/step": by_clock[0],
            "velm fit, ms/step": by_clock[1],
            "bare loop, CPU ms/step": by_cpu[0],
            "velm fit, CPU ms/step": by_cpu[1],
            "fixed cost, CPU ms/step": [b - a for a, b in zip(*by_cpu, strict=True)],
            "velm / bare, elapsed": turns.ratios("clock"),
            "velm / bare, CPU time": turns.ratios("cpu"),
        },
    )
    result.notes.append(verdict(turns, within))
    return result


def verdict(turns: Turns, within: float) -> str:
    """Return the ratio in a sentence that says whether it was resolved."""
    name = {"clock": "elapsed time", "cpu": "CPU time"}[decisive()]
    ratio = Interval.of(turns.ratios(decisive()))
    reached = ratio.half_width <= within
    width = f"+-{ratio.half_width:.1%}" if ratio.half_width < 10 else "unknown below 6 turns"
    sentence = f"the ratio of {name} is {ratio}, interval {width} in {ratio.turns} turns"
    if reached:
        return f"RESOLVED within +-{within:.1%}: {sentence}"
    return f"NOT RESOLVED within +-{within:.1%}: {sentence}; repeat on an idle machine or with more --minutes"

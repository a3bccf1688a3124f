"""Compares a training step of velm, with progress bar and logging, to a plain PyTorch loop over the same batches.

Both take turns within one process, so that other load on the machine affects both. The ratio is computed per turn, and
its median is reported.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from torch import nn
from typing_extensions import override

from velm_lightning.bench.interleaved_timing import ratios, show
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


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--dim", type=int, default=256, help="width of the model (256: about 5M parameters)")
    parser.add_argument("--batch-size", type=int, default=32, help="samples per batch (32)")
    parser.add_argument("--steps", type=int, default=30, help="steps per turn (30)")
    parser.add_argument("--turns", type=int, default=6, help="number of turns (6)")


def run(options: argparse.Namespace) -> None:
    """Run the benchmark and print its table."""
    seed_everything(0, verbose=False)
    quiet()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = MultimodalData(ShapeScenes(train=600, val=1, test=1), batch_size=options.batch_size)
    model = build(data, options.dim)
    data.transform = model.transform
    bare_times, velm_times = [], []
    for turn in range(options.turns + 1):  # the first turn warms up
        bare, with_velm = bare_turn(model, data, options.steps), velm_turn(model, data, options.steps)
        if turn:
            bare_times.append(bare)
            velm_times.append(with_velm)
    report(model, bare_times, velm_times)


def build(data: MultimodalData, dim: int) -> Fusion:
    """Return the model to train."""
    return InteractiveFusion(
        vocabulary=data.vocabulary,
        image_encoder=SmallCNN(widths=(32, 64, 128), dim=dim),
        text_encoder=TransformerTextEncoder(dim=dim, depth=2, dropout=0.0),
        task=Classification(dropout=0.0),
        dropout=0.0,
    )


def bare_turn(model: Fusion, data: MultimodalData, steps: int) -> float:
    """Return the seconds per step of a plain loop."""
    configured = model.optimization.configure(model, steps)
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    model.train()
    loader = iter(data.train_dataloader())
    started = 0.0
    for step in range(steps):
        if step == 3:
            started = time.perf_counter()
        batch = next(loader)
        optimizer.zero_grad()
        loss = model.task.loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return (time.perf_counter() - started) / (steps - 3)


class _Clock(Callback):
    """Measures the time per step from the end of the third step to the end of the last."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.marks.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Seconds per step."""
        return (self.marks[-1] - self.marks[2]) / (len(self.marks) - 3)


def velm_turn(model: Fusion, data: MultimodalData, steps: int) -> float:
    """Return the seconds per step of a fit with the callbacks and loggers that the command line sets up."""
    clock, log = _Clock(), TrainLog()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        record = Run(Path(folder))
        record.record |= {"id": "bench"}
        wandb = Tracking(experiment="bench", wandb="offline").wandb_logger(record, {})
        signals = Signals(LastCheckpoint(Path(folder) / "last.ckpt"))
        trainer = Trainer(
            max_steps=steps,
            log_every_n_steps=10,
            gradient_clip_val=1.0,
            limit_val_batches=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[log, Progress(log), NonFiniteLossGuard(), signals, clock],
            logger=[MetricsFile(Path(folder) / "metrics.csv"), *([wandb] if wandb else [])],
            accelerator="auto" if torch.cuda.is_available() else "cpu",
        )
        trainer.fit(model, datamodule=data)
        signals.restore()
        close_wandb(record)
    return clock.step


def report(model: Fusion, bare: list[float], with_velm: list[float]) -> None:
    """Print times, their ratio and the fixed cost of a step."""
    size = sum(p.numel() for p in model.parameters()) / 1e6
    show(
        f"a training step, {size:.1f}M parameters, {torch.get_num_threads()} threads",
        {
            "bare loop, ms/step": [1e3 * value for value in bare],
            "velm fit, ms/step": [1e3 * value for value in with_velm],
            "fixed cost, ms/step": [1e3 * (b - a) for a, b in zip(bare, with_velm, strict=True)],
            "velm / bare": ratios(with_velm, bare),
        },
    )

"""A run that is a trial of ``velm sweep``: it tells the sweep each evaluation, and stops where it is told to."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.tracking.run import Run

PATIENCE = 60.0
"""Seconds that a trial waits for the sweep's word before it goes on without."""


class SweepTrial(Callback):
    """Writes ``values.jsonl`` into the trial's folder, and reads ``verdict-<n>`` after the n-th evaluation.

    Args:
        run: this run; its status becomes ``pruned`` where it is stopped.
        folder: the trial's folder.
        waits: whether the sweep decides after each evaluation.
    """

    def __init__(self, run: Run, folder: Path, waits: bool) -> None:
        self.run, self.folder, self.waits, self.count, self.pruned = run, folder, waits, 0, False

    @staticmethod
    def of_environment(run: Run) -> list[SweepTrial]:
        """Return the callback if this process is a trial."""
        folder = os.environ.get("VELM_SWEEP_TRIAL")
        return [SweepTrial(run, Path(folder), bool(os.environ.get("VELM_SWEEP_WAITS")))] if folder else []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell where the run lies."""
        if trainer.is_global_zero:
            (self.folder / "run").write_text(str(self.run.folder.resolve()), "utf-8")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the figures of an evaluation in training; stop all ranks alike."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.count += 1
        if trainer.is_global_zero:
            figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
            with (self.folder / "values.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")
        if self.waits and trainer.strategy.broadcast(trainer.is_global_zero and self._verdict() == "stop"):
            self.pruned = trainer.should_stop = True

    def _verdict(self) -> str:
        path, end = self.folder / f"verdict-{self.count}", time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if path.is_file() and (said := path.read_text()):
                return said
            time.sleep(0.02)
        return "go"

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mark a run that was stopped."""
        if self.pruned and trainer.is_global_zero:
            self.run.update(status="pruned")

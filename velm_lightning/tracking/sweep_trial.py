"""The callback of a run that is a trial of ``velm sweep``: reports each evaluation and stops if the sweep prunes it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.tracking.run import Run

PATIENCE = 60.0
"""Seconds that a trial waits for the sweep's verdict before it continues without one."""


class SweepTrial(Callback):
    """Writes ``values.jsonl`` into the trial's folder, and reads ``verdict-<n>`` after the n-th evaluation.

    Args:
        run: this run; its status becomes ``pruned`` if the sweep stops it.
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
        """Write the path of the run's folder into the trial's folder, and the looks of the sweep into the record."""
        if trainer.is_global_zero:
            (self.folder / "run").write_text(str(self.run.folder.resolve()), "utf-8")
            if looks := os.environ.get("VELM_SWEEP_LOOKS"):
                self.run.update(looks=json.loads(looks))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the figures of an evaluation during training; stop all ranks if the verdict is ``stop``."""
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
            if path.is_file() and (verdict := path.read_text()):
                return verdict
            time.sleep(0.02)
        return "go"

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the status to ``pruned`` if the sweep stopped the run."""
        if self.pruned and trainer.is_global_zero:
            self.run.update(status="pruned")

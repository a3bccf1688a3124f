"""The time, the speed and the memory that a run has taken, over all of its starts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from lightning import Trainer

from velm_lightning.inspection.cost import peak_memory
from velm_lightning.tracking.callbacks.train_log import TrainLog


class RunCost:
    """The costs of a run, to which every start of the run adds.

    Args:
        log: the callback that measures the training time.
    """

    def __init__(self, log: TrainLog) -> None:
        self.log = log
        self._started, self._minutes_before = time.monotonic(), 0.0
        self._timed_before = {"samples": 0.0, "seconds": 0.0}

    def start(self, record: Mapping[str, Any]) -> None:
        """Start the clock, with the costs that the record of the run has from earlier starts."""
        self._started = time.monotonic()
        self._minutes_before = record.get("minutes", 0.0)
        timed = record.get("timed", {})
        self._timed_before = {name: timed.get(name, 0) + 0 for name in self._timed_before}

    def fields(self, trainer: Trainer, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the costs of the run so far and its last training loss, as fields of ``run.json``.

        ``samples_per_second`` is the mean over training, of all processes and all starts of the run, without evaluation
        and without the time before the first row of each start (see ``TrainLog``); None if the run is too short.
        ``epoch_loss`` is the mean training loss of the last completed epoch.
        """
        minutes = self._minutes_before + (time.monotonic() - self._started) / 60
        timed = {
            "samples": self._timed_before["samples"] + self.log.timed_samples,
            "seconds": self._timed_before["seconds"] + self.log.timed_seconds,
        }
        return {
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "minutes": round(minutes, 3),
            "device_minutes": round(minutes * trainer.world_size, 3),
            "timed": timed,
            "samples_per_second": round(timed["samples"] / timed["seconds"], 1) if timed["seconds"] else None,
            "epoch_loss": record.get("epoch_loss") if math.isnan(self.log.epoch_loss) else self.log.epoch_loss,
            "peak_memory_mib": round(peak_memory() / 2**20),
        }

"""The status of a run, finished or not, as its folder shows it; imports no torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.io.plain import LARGEST
from velm_lightning.tracking.run import in_use
from velm_lightning.tracking.run_names import read_record


class RunStatus(NamedTuple):
    """A run as it is listed.

    Attributes:
        folder: The run's folder.
        status: ``finished``, ``running``, ``interrupted``, ``failed``, ``pruned``; ``died`` if the record says
            ``running`` but no process uses the run.
        score: Its score with the name of the split; empty if it was not evaluated.
        seconds: Time since its last change.
    """

    folder: Path
    status: str
    score: str
    seconds: float


def status_of(folder: Path) -> RunStatus:
    """Return the status of a run."""
    record = read_record(folder)
    status = str(record.get("status", "unknown"))
    if status == "running" and not in_use(folder):
        status = "died"
    return RunStatus(folder, status, _score(record), time.time() - (folder / "run.json").stat().st_mtime)


def _score(record: dict[str, Any]) -> str:
    scores = record.get("scores")
    for split in ("test", "val"):
        figures = scores.get(split) if isinstance(scores, dict) else None
        value = figures.get("score") if isinstance(figures, dict) else None
        if isinstance(value, int | float) and not abs(value) > LARGEST:
            return f"{split} {value:.4f}"
    return ""

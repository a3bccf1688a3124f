"""A run that may still be training: how far it is, and how long it will take."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import override

from velm_lightning.compare.reading import RunFolder
from velm_lightning.errors import InputError
from velm_lightning.io.plain import number_of
from velm_lightning.tracking.run_status import RunStatus, status_of

FILES = ("run.json", "config.yaml", "metrics.csv")


class LiveRun(RunFolder):
    """A run with any status.

    Raises:
        InputError: If a file is missing or cannot be read.
    """

    @override
    def check(self) -> None:
        pass

    @property
    @override
    def data(self) -> str:
        return json.dumps(self.record.get("data"), sort_keys=True)  # only evaluated runs have a signature

    @property
    def step(self) -> int:
        """The number of steps: of a finished run that of its record, else the last one of training in its curves."""
        if self.record.get("status") == "finished" and self.cost("steps") == self.cost("steps"):
            return int(self.cost("steps"))
        steps, _ = self.curves.get("train/loss", ([], []))
        return int(max((step for step in steps if step == step), default=0))


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        step: the last logged step.
        steps: the number of planned steps; None if it is not known.
        seconds_left: the time until the last planned step at the mean speed of this start of the run; None if the run
            does not train or the speed is not known. A run that stops early needs less.
    """

    step: int
    steps: int | None
    seconds_left: float | None


def progress_of(run: LiveRun, status: RunStatus, now: float) -> Progress:
    """Return how far a run is.

    Args:
        run: the run.
        status: its status.
        now: the current time in seconds since 1970.
    """
    planned = run.record.get("planned_steps")
    steps = planned if isinstance(planned, int) and planned > 0 else None
    left = None
    if status.status == "running" and steps is not None:
        left = _seconds_left(run, steps, now)
    return Progress(run.step, steps, left)


def _seconds_left(run: LiveRun, steps: int, now: float) -> float | None:
    start = _last_start(run.record)
    if start is None:
        return None
    first_step, began = start
    try:
        written = (run.folder / "metrics.csv").stat().st_mtime  # when the last step was logged, within seconds
    except OSError:
        return None
    done = run.step - first_step
    if done <= 0 or written <= began:
        return None
    return max(0.0, (steps - run.step) * (written - began) / done - (now - written))


def _last_start(record: dict[str, Any]) -> tuple[float, float] | None:
    """Return step and time of the last start of training; None if the record has none."""
    try:
        start = record["starts"][-1]
        return number_of(start["step"]), datetime.fromisoformat(start["at"]).timestamp()
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, OSError):
        return None


class RunCache:
    """Reads runs, and reads a run again only if one of its files has changed."""

    def __init__(self) -> None:
        self._runs: dict[Path, tuple[tuple[int, ...], LiveRun | Exception]] = {}

    def read(self, folder: Path) -> LiveRun:
        """Return a run.

        Raises:
            InputError: As ``LiveRun``.
        """
        mark = tuple(_changed(folder / name) for name in FILES)
        known = self._runs.get(folder)
        if known is None or known[0] != mark:
            known = self._runs[folder] = mark, _read(folder)
        if isinstance(known[1], Exception):
            raise known[1]
        return known[1]


def _read(folder: Path) -> LiveRun | Exception:
    try:
        run = LiveRun(folder)
        _ = run.curves
    except InputError as error:
        return error
    return run


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1


def listed(folder: Path) -> RunStatus:
    """Return the status of a run; ``unknown`` if its record has just been removed."""
    try:
        return status_of(folder)
    except OSError:
        return RunStatus(folder, "unknown", "", time.time())

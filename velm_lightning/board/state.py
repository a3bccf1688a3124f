"""What the board shows: the runs of an experiment with their progress, their curves, and the last predictions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from velm_lightning.board.live_run import LiveRun, RunCache, listed, progress_of
from velm_lightning.compare.grouping import Method, methods
from velm_lightning.compare.panel import COLOURS, DASHES, MOST_LINES, cut, safe
from velm_lightning.compare.views.curves import Line, curve, logged
from velm_lightning.compare.views.gallery import MOST_METHODS, cards_of
from velm_lightning.errors import InputError
from velm_lightning.io.console import span
from velm_lightning.tracking.run_status import RunStatus

HEAD = ("run", "method", "seed", "status", "step", "of", "time left", "last", "best", "test", "changed")


class Experiment(NamedTuple):
    """The runs of one experiment.

    Attributes:
        runs: the runs that can be read, with their status, the last changed first.
        broken: the folders that cannot be read, with the reason.
    """

    runs: list[tuple[LiveRun, RunStatus]]
    broken: list[str]


class Board:
    """Reads runs for the pages that ask for them, one at a time.

    Args:
        places: folders of runs, of an experiment, or of experiments.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self.places, self._cache, self._lock = list(places), RunCache(), Lock()

    def state(self, experiment: str | None, figures: Sequence[str]) -> dict[str, Any]:
        """Return the runs of an experiment as a table, and their curves.

        Args:
            experiment: its name; None, or one that there is not, means the one that changed last.
            figures: names of the figures whose curves are wanted; others that were logged are only named.
        """
        with self._lock:
            folders = self._folders()
            name = experiment if experiment in folders else next(iter(folders), "")
            now = time.time()
            read = self._read(folders.get(name, []))
            named = [
                method._replace(name=cut(method.name, number))
                for number, method in enumerate(methods([run for run, _ in read.runs]), 1)
            ]
            by_run = {id(run): method.name for method in named for run in method.runs}
            first = {"train/loss", *(f"val/{run.monitored[0]}" for run, _ in read.runs)}
            names = sorted(logged([run for run, _ in read.runs]), key=lambda figure: figure not in first)
            lines = _lines(named)
            return {
                "experiments": list(folders),
                "experiment": name,
                "time": time.strftime("%H:%M:%S", time.localtime(now)),
                "counts": _counts(read),
                "head": HEAD,
                "rows": [_row(run, status, by_run[id(run)], now) for run, status in read.runs],
                "figures": names,
                "curves": {figure: curve(lines, figure, partial=True) for figure in figures if figure in names},
                "broken": read.broken,
                "evaluated": [str(run.folder) for run, _ in _evaluated(read)],
            }

    def gallery(self, experiment: str) -> dict[str, Any] | None:
        """Return the cards of the runs of an experiment that were evaluated last; None if none stored images."""
        with self._lock:
            read = self._read(self._folders().get(experiment, []))
            runs = [run for run, _ in _evaluated(read)]
            try:
                return cards_of([run.ident for run in runs], runs, "test")
            except (InputError, KeyError, TypeError):
                return None

    def _folders(self) -> dict[str, list[Path]]:
        """Return the folders of runs by their experiment, the last changed first."""
        changed = {folder: _changed(folder) for place in self.places for folder in _below(place)}
        folders: dict[str, list[Path]] = {}
        for folder in sorted(changed, key=lambda folder: -changed[folder]):
            folders.setdefault(folder.absolute().parent.name, []).append(folder)
        return folders

    def _read(self, folders: Sequence[Path]) -> Experiment:
        read = Experiment([], [])
        for folder in folders:
            try:
                read.runs.append((self._cache.read(folder), listed(folder)))
            except InputError as error:
                read.broken.append(f"{folder}: {error}")
        return read


def _below(place: Path) -> Iterator[Path]:
    yield from {path.parent for depth in ("", "*/", "*/*/") for path in place.glob(f"{depth}run.json")}


def _changed(folder: Path) -> float:
    """Return when a run has changed last; 0 if it has just been removed."""
    times = []
    for name in ("run.json", "metrics.csv"):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


def _counts(read: Experiment) -> str:
    """Return how many runs have each status."""
    statuses = [status.status for _, status in read.runs]
    return ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))


def _row(run: LiveRun, status: RunStatus, method: str, now: float) -> list[Any]:
    progress = progress_of(run, status, now)
    monitored, lower = run.monitored
    _, values = run.curves.get(f"val/{monitored}", ([], []))
    known = [value for value in values if value == value]
    best = (min if lower else max)(known) if known else None
    return [
        run.ident,
        method,
        run.seed,
        status.status,
        progress.step,
        progress.steps,
        "" if progress.seconds_left is None else span(progress.seconds_left),
        known[-1] if known else None,
        best,
        run.figure("test", monitored),
        f"{span(max(0.0, now - _changed(run.folder)))} ago",
    ]


def _lines(named: Sequence[Method]) -> list[Line]:
    """Return the lines of methods: a colour per fusion, a style per method of a fusion."""
    fusions = sorted({method.fusion for method in named})
    lines, used = [], dict.fromkeys(fusions, 0)
    for method in named[:MOST_LINES]:
        place, used[method.fusion] = used[method.fusion], used[method.fusion] + 1
        colour = COLOURS[fusions.index(method.fusion) % len(COLOURS)]
        lines.append(Line(safe(method.name), colour, DASHES[place % len(DASHES)], method.runs))
    return lines


def _evaluated(read: Experiment) -> list[tuple[LiveRun, RunStatus]]:
    """Return the last evaluated run of each fusion, if they were evaluated on the data of the newest."""
    finished = [(run, status) for run, status in read.runs if "test" in (run.record.get("scores") or {})]
    same = [(run, status) for run, status in finished if run.data == finished[0][0].data]
    newest: dict[str, tuple[LiveRun, RunStatus]] = {}
    for run, status in same:
        newest.setdefault(run.fusion, (run, status))
    return list(newest.values())[:MOST_METHODS]

"""Finds the runs below the folders that a user names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from velm_lightning.compare.reading.run_folder import RunFolder
from velm_lightning.compare.reading.settings import training_settings
from velm_lightning.errors import InputError


class SkippedRun(NamedTuple):
    """A folder that was left out, with the reason."""

    folder: Path
    why: str


def read_runs(places: Sequence[Path], drawn: bool = False) -> tuple[list[RunFolder], list[SkippedRun]]:
    """Read the runs in ``places``: run folders, experiments, or folders of experiments.

    If several runs have the same configuration and seed, the latest is kept.

    Args:
        places: the folders.
        drawn: whether the files that only a dashboard shows must be readable, too.

    Raises:
        InputError: If a place does not exist or holds no runs.
    """
    runs: list[RunFolder] = []
    left: list[SkippedRun] = []
    for folder in dict.fromkeys(run_folder for place in places for run_folder in _folders(place)):
        try:
            run = RunFolder(folder)
            if drawn:
                run.check_drawn()
            runs.append(run)
        except InputError as error:
            left.append(SkippedRun(folder, str(error)))
    latest: dict[str, RunFolder] = {}
    for run in sorted(runs, key=lambda run: str(run.record.get("started", ""))):
        settings = {key: value for key, value in training_settings(run).items() if value is not None}  # as if absent
        mark = json.dumps([run.data, run.seed, settings], sort_keys=True, default=str)
        if mark in latest:
            left.append(SkippedRun(latest[mark].folder, f"{run.ident} repeats its configuration and seed"))
        latest[mark] = run
    latest_ids = set(map(id, latest.values()))
    return [run for run in runs if id(run) in latest_ids], left


def _folders(place: Path) -> Iterator[Path]:
    try:
        is_run = (place / "run.json").exists() or (place / "config.yaml").exists()
    except OSError as error:  # no permission, or a name that is too long
        raise InputError(f"{place} cannot be read ({error.strerror}): name a folder of a run or of runs") from error
    if is_run:
        yield place
        return
    if not place.is_dir():
        raise InputError(f"{place} does not exist: name a folder of a run or of runs")
    marks = ("run.json", "config.yaml")
    folders = {path.parent for depth in ("*", "*/*") for mark in marks for path in place.glob(f"{depth}/{mark}")}
    if not folders:
        raise InputError(f"{place} holds no runs: name a run, or a folder of runs")
    yield from sorted(folders)

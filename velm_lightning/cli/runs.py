"""``velm runs``: lists the runs with status, score and age, and removes unfinished ones; imports no torch."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.errors import InputError
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path
from velm_lightning.io.plain import LARGEST
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.run_names import read_record, run_folders


class Row(NamedTuple):
    """One run of the list.

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


def main(words: Sequence[str]) -> int:
    """List the runs, or remove the unfinished ones; the exit code is 0."""
    options = _options(words)
    rows = [row_of(folder) for folder in run_folders(options.runs) if options.experiment in (None, folder.parent.name)]
    if options.prune:
        return _prune([row for row in rows if row.status not in ("finished", "running")], options.yes)
    if not rows:
        echo(f"{options.runs} holds no runs{f' of {options.experiment}' if options.experiment else ''}")
    for experiment, group in groupby(rows, key=lambda row: row.folder.parent):
        echo(f"{experiment}/")
        _print(sorted(group, key=lambda row: row.seconds))
    return 0


def row_of(folder: Path) -> Row:
    """Return the line of a run."""
    record = read_record(folder)
    status = str(record.get("status", "unknown"))
    if status == "running" and not _in_use(folder):
        status = "died"
    return Row(folder, status, _score(record), time.time() - (folder / "run.json").stat().st_mtime)


def age(seconds: float) -> str:
    """Return a time span in its largest unit.

    Example:
        >>> age(7300)
        '2 h'
    """
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def _score(record: dict[str, Any]) -> str:
    scores = record.get("scores")
    for split in ("test", "val"):
        figures = scores.get(split) if isinstance(scores, dict) else None
        value = figures.get("score") if isinstance(figures, dict) else None
        if isinstance(value, int | float) and not abs(value) > LARGEST:
            return f"{split} {value:.4f}"
    return ""


def _in_use(folder: Path) -> bool:
    """Return whether a process holds the lock of a run."""
    try:
        run = Run(folder)
    except InputError:
        return False
    if not run.claim(shared=True):
        return True
    run.release()
    return False


def _print(rows: Sequence[Row]) -> None:
    width = max(len(row.folder.name) for row in rows)
    for row in rows:
        echo(f"  {row.folder.name:<{width}}  {row.status:<11}  {row.score:<11}  {age(row.seconds):>6}".rstrip())


def _prune(rows: Sequence[Row], confirmed: bool) -> int:
    """Remove runs after a confirmation.

    Raises:
        InputError: Standard input is not a terminal, and ``--yes`` is missing.
    """
    if not rows:
        echo("no unfinished runs")
        return 0
    _print(rows)
    if not confirmed:
        if not sys.stdin.isatty():
            raise InputError(f"{len(rows)} runs would be removed: add --yes to confirm")
        answer = input(f"remove these {len(rows)} runs with their checkpoints? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            echo("nothing was removed")
            return 0
    for row in rows:
        if not _in_use(row.folder):  # it may have been resumed in the meantime
            shutil.rmtree(row.folder)
    echo(f"removed {len(rows)} runs")
    return 0


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "velm runs",
        description="List the runs with status, score and age, the newest of each experiment first. `died`: the record "
        "says running, but no process uses the run.",
    )
    parser.add_argument("experiment", nargs="?", help="list only the runs of this experiment")
    parser.add_argument("--runs", type=user_path, default=Path("runs"), metavar="DIR", help="folder of all runs (runs)")
    parser.add_argument("--prune", action="store_true", help="remove unfinished runs, after a confirmation")
    parser.add_argument("--yes", action="store_true", help="with --prune: remove them without asking")
    options = parser.parse_args(list(words)[1:])
    if options.yes and not options.prune:
        raise InputError("--yes goes with --prune")
    return options

"""``velm runs``: lists the runs with status, score and age, and removes unfinished ones; imports no torch."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.io.console import echo
from velm_lightning.io.files import clean_text
from velm_lightning.io.paths import user_path
from velm_lightning.tracking.run import in_use
from velm_lightning.tracking.run_names import run_folders
from velm_lightning.tracking.run_status import RunStatus, status_of

UNFINISHED = ("died", "failed", "interrupted", "pruned")
"""The statuses of runs that ``--prune`` removes."""


def main(words: Sequence[str]) -> int:
    """List the runs, or remove the unfinished ones; the exit code is 0."""
    options = _options(words)
    rows = [
        status_of(folder) for folder in run_folders(options.runs) if options.experiment in (None, folder.parent.name)
    ]
    if options.prune:
        return _prune(list(_unfinished(rows, options.runs)), options.yes)
    if not rows:
        echo(f"{options.runs} holds no runs{f' of {options.experiment}' if options.experiment else ''}")
    for experiment, group in groupby(rows, key=lambda row: row.folder.parent):
        echo(f"{experiment}/")
        _print(sorted(group, key=lambda row: row.seconds))
    return 0


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


def _print(rows: Sequence[RunStatus]) -> None:
    names = [clean_text(row.folder.name) for row in rows]  # on one line each
    width = max(map(len, names))
    for name, row in zip(names, rows, strict=True):
        status = clean_text(row.status)
        echo(f"  {name:<{width}}  {status:<11}  {row.score:<11}  {age(row.seconds):>6}".rstrip())


def _unfinished(rows: Iterable[RunStatus], runs: Path) -> Iterator[RunStatus]:
    """Yield the runs that may be removed; those that are kept for another reason than their status are named."""
    for row in rows:
        if row.status in ("finished", "running"):
            continue
        place = clean_text(str(row.folder))
        if row.folder.is_symlink() or not row.folder.resolve().is_relative_to(runs.resolve()):
            echo(f"kept {place}: it is elsewhere, reached by a link")
        elif row.status not in UNFINISHED:
            echo(f"kept {place}: its run.json does not say how the run ended (status {clean_text(row.status)})")
        else:
            yield row


def _prune(rows: Sequence[RunStatus], confirmed: bool) -> int:
    """Remove runs after a confirmation.

    Raises:
        InputError: Standard input is not a terminal, and ``--yes`` is missing; or a run cannot be removed.
    """
    if not rows:
        echo("no unfinished runs")
        return 0
    _print(rows)
    if not confirmed:
        if not sys.stdin.isatty():
            raise InputError(f"{_count(rows)} would be removed: add --yes to confirm")
        answer = input(f"remove {_count(rows)} with their checkpoints? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            echo("nothing was removed")
            return 0
    removed = [row.folder for row in rows if _remove(row.folder)]
    echo(f"removed {_count(removed)}")
    return 0


def _count(runs: Sequence[object]) -> str:
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"


def _remove(folder: Path) -> bool:
    """Remove a run and return True, unless it has been resumed in the meantime."""
    if in_use(folder):
        return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be removed ({error.strerror}: {error.filename}): remove it by hand"
        ) from error
    return True


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

"""``velm sweep --until decided``: adds seeds to undecided pairs; imports no torch."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from velm_lightning.errors import InputError
from velm_lightning.io.console import echo

if TYPE_CHECKING:
    from velm_lightning.sweep.spec import Spec
    from velm_lightning.sweep.study import Study


def add_options(parser: ArgumentParser) -> None:
    """Declare the options of a sweep that adds seeds."""
    parser.add_argument(
        "--until",
        choices=["decided"],
        help="add seeds to undecided pairs of arms; claims are corrected for looking several times",
    )
    parser.add_argument("--max-seeds", type=int, default=20, metavar="N", help="budget per arm of --until (20)")
    parser.add_argument("--looks", type=int, default=4, metavar="N", help="looks of --until at the results (4)")
    parser.add_argument(
        "--rope", type=float, default=0.0, metavar="X", help="--until also stops if no difference is larger than X"
    )


def with_looks(spec: Spec, options: Namespace) -> Spec:
    """Return a sweep with the schedule of its looks.

    Raises:
        InputError: If the sweep or the options do not allow one.
    """
    from velm_lightning.compare.deciding.sequential import schedule_for
    from velm_lightning.sweep.stages import arms
    from velm_lightning.sweep.until import seeds_of

    if not 0 <= options.rope < float("inf"):
        raise InputError(f"--rope must be at least 0, got {options.rope:g}")
    seeds = seeds_of(spec)
    schedule = schedule_for(len(arms(spec)), seeds, options.max_seeds, options.looks)
    return replace(spec, looks=json.dumps(schedule._asdict()))


def run_stages(
    spec: Spec, folder: Path, study_of: Callable[[Spec], Study], run: Callable[[Study], None], rope: float
) -> bool:
    """Run a sweep with a schedule, print the decisions after each look, and return whether any run has a score."""
    from velm_lightning.sweep.until import keep_schedule, run_until_decided

    keep_schedule(spec, folder)

    def stage(part: Spec) -> dict[Path, str]:
        study = study_of(part)
        run(study)
        return finished(study)

    return bool(run_until_decided(spec, stage, _Judge(spec, rope)))


def finished(study: Study) -> dict[Path, str]:
    """Return the folders of the finished runs of a study with the marks of their arms.

    Raises:
        InputError: If a trial still runs elsewhere.
    """
    from optuna.trial import TrialState

    from velm_lightning.sweep.worker import run_folder

    if running := study.trials(TrialState.RUNNING, TrialState.WAITING):
        raise InputError(
            f"{len(running)} trials of {study.spec.name} are not finished, possibly elsewhere: run the command again "
            "when they are"
        )
    done = study.trials(TrialState.COMPLETE)
    folders = {run_folder(study.folder_of(trial)): study.spec.arm(trial.user_attrs["config"]) for trial in done}
    return {folder: mark for folder, mark in folders.items() if folder is not None}


class _Judge:
    """Prints the decisions after a look, and returns the runs whose arms need more seeds."""

    def __init__(self, spec: Spec, rope: float) -> None:
        self.looks, self.rope = json.loads(spec.looks)["looks"], rope

    def __call__(self, number: int, folders: Sequence[Path]) -> list[Path]:
        from velm_lightning.compare.deciding.decisions import decided
        from velm_lightning.compare.views.sheet import print_sheet
        from velm_lightning.io.terminal import Console

        looks, (undecided, sheet) = self.looks, decided(folders, self.rope)
        title = f"look {number} of {len(looks)}, {looks[number - 1]} seeds: {sheet.title}"
        print_sheet(sheet._replace(title=title), Console())
        if not undecided:
            echo("all pairs are decided")
        elif number == len(looks):
            echo(f"the budget of {looks[-1]} seeds is spent")
        else:
            echo(f"the methods of open pairs get {looks[number] - looks[number - 1]} more seeds")
        return undecided

"""Adds seeds to the arms of a grid in stages, until a judge says that their pairs are decided.

An arm is a combination of the values that a grid varies, apart from its seeds; see ``Spec.arm``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.files import show
from velm_lightning.io.plain import MOST_RECORD, checked_size
from velm_lightning.sweep.parameter import Parameter
from velm_lightning.sweep.spec import Spec
from velm_lightning.sweep.stages import arms

SEED = "seed_everything"
MOST_ARMS = 10

RunStage = Callable[[Spec], dict[Path, str]]
"""Runs all trials of a stage; returns the folder of each finished run with the mark of its arm."""

Judge = Callable[[int, Sequence[Path]], Sequence[Path]]
"""Gets the number of the look and the folders of all runs; returns those of the runs whose arms need more seeds."""


def seeds_of(spec: Spec) -> list[int]:
    """Return the seeds of a sweep file.

    Raises:
        InputError: If its arms cannot get more seeds; the message names the key and the fix.
    """
    if spec.method != "grid":
        raise InputError(f"{spec.name}: method: --until decided is for a grid of arms, got {spec.method}")
    if spec.cap is not None:
        raise InputError(f"{spec.name}: run_cap: --until decided takes its budget from --max-seeds: remove run_cap")
    seeds = [value for parameter in spec.parameters if parameter.key == SEED for value in parameter.grid()]
    if not seeds or any(isinstance(seed, bool) or not isinstance(seed, int) for seed in seeds):
        raise InputError(f"{spec.name}: parameters.{SEED}: --until decided needs whole numbers, got {seeds}")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{spec.name}: parameters.{SEED}: has a value twice: {seeds}")
    if not 2 <= len(arms(spec)) <= MOST_ARMS:
        raise InputError(f"{spec.name}: --until decided compares 2 to {MOST_ARMS} arms, got {len(arms(spec))}")
    return seeds


def keep_schedule(spec: Spec, folder: Path) -> None:
    """Store the schedule of a sweep at its start; the levels of its tests depend on it.

    Raises:
        InputError: If the sweep was started with another schedule.
    """
    path = folder / "looks.json"
    if path.is_file() and (known := checked_size(path, MOST_RECORD).read_text("utf-8", "replace")) != spec.looks:
        raise InputError(
            f"{spec.name}: was started with other looks ({path}: {show(known)}): restore --max-seeds, --looks and "
            "the seeds, or give it another `name`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, spec.looks)


def stages(spec: Spec) -> Iterator[Spec]:
    """Yield the stages of a sweep, each with the seeds that it adds, for all arms."""
    schedule, before = json.loads(spec.looks), 0
    for number, count in enumerate(schedule["looks"], 1):
        seeds = Parameter(SEED, "categorical", tuple(schedule["seeds"][before:count]))
        parameters = tuple(seeds if parameter.key == SEED else parameter for parameter in spec.parameters)
        yield replace(spec, name=f"{spec.name}-look{number}", parameters=parameters)
        before = count


def run_until_decided(spec: Spec, run: RunStage, judge: Judge) -> dict[Path, str]:
    """Run the stages of a sweep until its judge asks for no more seeds, or all looks are taken.

    Args:
        spec: the sweep, with its schedule in ``looks``.
        run: runs one stage.
        judge: decides after each stage.

    Returns:
        The folders of all runs with the marks of their arms.
    """
    folders: dict[Path, str] = {}
    undecided = set(arms(spec))
    for number, stage in enumerate(stages(spec), 1):
        folders |= run(replace(stage, only=frozenset(undecided)))
        undecided = {folders[folder] for folder in judge(number, list(folders))}
        if not undecided:
            break
    return folders

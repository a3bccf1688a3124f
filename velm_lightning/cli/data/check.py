"""``velm data check``: checks the data that a config names before a run uses it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from velm_lightning.cli.data.load import data_of
from velm_lightning.cli.start.hints import no_file
from velm_lightning.errors import InputError
from velm_lightning.io.paths import stands_for_files, user_path

if TYPE_CHECKING:
    from velm_lightning.data import MultimodalData
    from velm_lightning.tasks.base import Task


def _floors(data: MultimodalData) -> list[str]:
    """Return the score of trivial baselines on each evaluation split, by the default metric of its kind of target."""
    from velm_lightning.tasks.classification import Classification
    from velm_lightning.tasks.floors import describe, rows_of
    from velm_lightning.tasks.generation import Generation
    from velm_lightning.types import SPLITS

    try:
        splits = {name: data.samples(name) for name in SPLITS if data.has(name)}
    except InputError:  # the report lists it
        return []
    training = splits.pop("train", [])
    task: Task = Generation() if data.sentences("train") else Classification()
    metric = task.signature("").partition("|")[0]
    floors = {name: describe(task.floors(rows_of(samples), training), metric) for name, samples in splits.items()}
    return [f"{name}: {floor}" for name, floor in floors.items() if floor]


def _limits(data: MultimodalData) -> list[str]:
    """Return the highest scores that tokeniser and answer list allow: exact match, and CIDEr-D for sentences."""
    from velm_lightning.inspection.ceiling import ceiling, thin_targets
    from velm_lightning.tasks.classification import Classification
    from velm_lightning.tasks.generation import Generation
    from velm_lightning.tasks.sentences import Answers, Captions

    try:
        words, train = data.vocabulary, data.samples("train")
        split = next((name for name in ("val", "test") if data.has(name)), "train")
        samples = data.samples(split)
    except InputError:  # the report lists it
        return []
    tasks: list[tuple[str, Task]] = [("accuracy", Classification())]
    if data.sentences("train"):
        tasks = [("exact match", Generation(scorer=Answers())), ("CIDEr-D", Generation(scorer=Captions()))]
    measured = [(f"{split} {name}", ceiling(task, samples, words)) for name, task in tasks]
    thin = thin_targets(train, words)
    return [
        f"tokeniser: {data.tokenizing.reason}, {words.size} tokens",
        *(limit.describe(name) for name, limit in measured if limit),
        *([thin] if thin else []),
    ]


def main(words: Sequence[str]) -> int:
    """Print a summary of the data and its problems; the exit code is 1 if there are any."""
    parser = argparse.ArgumentParser("velm data check", description="Check the data that a config names.")
    parser.add_argument("config", type=user_path, help="a config, a file of its data section, or your data")
    parser.add_argument(
        "--all", action="store_true", help="print every problem and every shared image, not only the first of each kind"
    )
    options, others = parser.parse_known_args(list(words))
    if not options.config.exists() and not stands_for_files(options.config):
        raise InputError(f"velm data check {no_file(options.config)}")
    from velm_lightning.data.checks.check import check_dataset
    from velm_lightning.data.checks.report import SHOWN
    from velm_lightning.io.terminal import Console

    data = data_of(options.config, others)
    examples = 10**9 if options.all else 2
    report = check_dataset(data.dataset, data.num_answers, max_pixels=data.max_pixels, examples=examples)
    report.notes += _floors(data)
    report.notes += _limits(data)
    report.print(Console(), shown=len(report.problems) if options.all else SHOWN)
    return 0 if report.ok else 1

"""``velm data check``: look for faults in the data that a config names, before a run does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from velm_lightning.cli.config_guard import PACKAGES, check_file
from velm_lightning.cli.parser import Parser
from velm_lightning.data import MultimodalData
from velm_lightning.data.checks.check import check_dataset
from velm_lightning.data.checks.report import SHOWN
from velm_lightning.inspection.ceiling import ceiling, thin_targets
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.classification import Classification
from velm_lightning.tasks.floors import describe, rows_of
from velm_lightning.tasks.generation import Generation
from velm_lightning.tasks.sentences import Answers, Captions
from velm_lightning.types import SPLITS, InputError


def data_of(config: Path, options: Sequence[str] = ()) -> MultimodalData:
    """Build the data module that ``config`` names: a whole config, or a file of its ``data`` section alone.

    Args:
        config: a YAML file.
        options: ``--data.…`` arguments as for ``velm fit``.

    Raises:
        InputError: the file is missing, is no YAML, or has no such section.
    """
    check_file(config, {*PACKAGES})
    try:
        found = yaml.safe_load(config.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"config {config} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config {config} is no YAML: {error}") from error
    section = found.get("data") if isinstance(found, dict) and "dataset" not in found else found
    if not isinstance(section, dict | str):
        raise InputError(f"config {config} has no `data` section")
    parser = Parser()
    parser.add_class_arguments(MultimodalData, "data")
    if isinstance(section, str):  # a file, named relative to the config, as everywhere in it
        given = ["--data", os.path.join(config.parent, section)]
        return _built(parser, parser.parse_args([*given, *options]))
    start = parser.parse_object({"data": section})
    return _built(parser, parser.parse_args(list(options), namespace=start) if options else start)


def _built(parser: Parser, config: object) -> MultimodalData:
    module: MultimodalData = parser.instantiate_classes(config).data
    return module


def _floors(data: MultimodalData) -> list[str]:
    """Return what each evaluation split scores without a model, by the default metric of its kind of target."""
    try:
        splits = {name: data.samples(name) for name in SPLITS if data.has(name)}
    except InputError:  # it is among the problems
        return []
    training = splits.pop("train", [])
    task: Task = Generation() if data.sentences("train") else Classification()
    metric = task.signature("").partition("|")[0]
    found = {name: describe(task.floors(rows_of(samples), training), metric) for name, samples in splits.items()}
    return [f"{name}: {told}" for name, told in found.items() if told]


def _limits(data: MultimodalData) -> list[str]:
    """Return what the tokeniser and the list of answers allow, by exact match and, for sentences, by CIDEr-D."""
    try:
        words, train = data.vocabulary, data.samples("train")
        split = next((name for name in ("val", "test") if data.has(name)), "train")
        samples = data.samples(split)
    except InputError:  # a problem with rows, and told there
        return []
    tasks: list[tuple[str, Task]] = [("accuracy", Classification())]
    if data.sentences("train"):
        tasks = [("exact match", Generation(scorer=Answers())), ("CIDEr-D", Generation(scorer=Captions()))]
    measured = [(f"{split} {name}", ceiling(task, samples, words)) for name, task in tasks]
    thin = thin_targets(train, words)
    return [
        f"tokeniser: {data.tokenizing.reason}, {words.size} pieces",
        *(found.describe(name) for name, found in measured if found),
        *([thin] if thin else []),
    ]


def main(words: Sequence[str]) -> int:
    """Print what is in the data and what is wrong with it; exit code 1 where something is wrong."""
    parser = argparse.ArgumentParser("velm data", description="Check the data that a config names.")
    parser.add_argument("action", choices=["check"])
    parser.add_argument("config", type=Path, help="a config, or a file of its data section")
    parser.add_argument(
        "--all", action="store_true", help="print every problem and every shared picture, not the first of a kind"
    )
    options, others = parser.parse_known_args(list(words)[1:])
    data = data_of(options.config, others)
    examples = 10**9 if options.all else 2
    report = check_dataset(data.dataset, data.num_answers, max_pixels=data.max_pixels, examples=examples)
    report.notes += _floors(data)
    report.notes += _limits(data)
    report.print(Console(), shown=len(report.problems) if options.all else SHOWN)
    return 0 if report.ok else 1

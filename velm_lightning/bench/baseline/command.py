"""The run of ``velm bench baseline``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lightning import seed_everything

from velm_lightning.bench.baseline.classifier import Classifier
from velm_lightning.bench.baseline.features import Extractor, Features
from velm_lightning.bench.baseline.towers import Towers
from velm_lightning.bench.machine import device_name
from velm_lightning.bench.result import Cell, Result
from velm_lightning.data import MultimodalData
from velm_lightning.data.datasets.caption_pairs import CaptionPairs
from velm_lightning.io.console import command
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.run_names import find_run
from velm_lightning.types import SPLITS, InputError, Sample


def run(options: argparse.Namespace) -> list[Result]:
    """Return the table of the baseline and of the runs."""
    data = with_pairs(options.load_data(options.data, options.images, options.val, options.test))
    samples = {name: data.samples(name) for name in SPLITS if data.has(name)}
    split = "test" if "test" in samples else "val"
    runs = [scores_of(name, split, data) for name in options.runs]
    before = _clocks()
    weights = None if options.weights == "none" else options.weights
    extractor = Extractor(options.text_model, options.image_model, weights)
    features = {name: extractor.features(part) for name, part in samples.items()}
    encoding = _since(before)
    rows: list[dict[str, float]] = []
    validation: list[str] = []
    for seed in options.seeds:
        seed_everything(seed, verbose=False)
        model = _model(samples, features, data.num_answers)
        before = _clocks()
        epochs = model.fit()
        minutes = {name: (value + encoding[name]) / 60 for name, value in _since(before).items()}
        rows.append({**model.scores(split), **minutes, "epochs": epochs})
        validation.append(f"{100 * model.scores('val')[model.monitored]:.1f}")
    result = table(f"{model.metric} on {split}, in %", dict(zip(options.seeds, rows, strict=True)), runs)
    figure = model.metric if model.monitored == "score" else model.monitored
    result.notes.append(f"best {figure} on val, in %: {', '.join(validation)}")
    sizes = ", ".join(f"{name} {len(part):,}" for name, part in samples.items())
    result.notes.append(f"samples: {sizes}; minutes on {device_name()}, with the features")
    return [result]


def with_pairs(data: MultimodalData) -> MultimodalData:
    """Return data for the baseline: captions become one image-text pair each, as retrieval reads them.

    Raises:
        InputError: There is no training or validation split, or the targets are neither answers nor captions.
    """
    if not (data.has("train") and data.has("val")):
        raise InputError("the baseline needs a training and a validation split: name a file for each, or set holdout")
    first = data.samples("train")[0]
    if not isinstance(first.target, str):
        return data
    if first.text:
        raise InputError("the baseline has no decoder: give data with answers, or with captions and without texts")
    return MultimodalData(CaptionPairs(data.dataset))


def _model(samples: Mapping[str, Sequence[Sample]], features: Mapping[str, Features], num: int) -> Classifier | Towers:
    if samples["train"][0].target is None:
        return Towers(features)
    return Classifier(samples, features, num)


def scores_of(name: str, split: str, data: MultimodalData) -> tuple[str, dict[str, float]]:
    """Return the name of a run, and its scores and minutes.

    Raises:
        InputError: The run does not exist, was not evaluated on the split, or was trained on other data; or its record
            cannot be read.
    """
    folder = find_run(name)
    run = Run(folder)
    record = run.record
    with run.interpreting():
        figures: Mapping[str, Any] = record.get("scores", {}).get(split, {})
        scores = {figure: value for figure, value in figures.items() if isinstance(value, int | float)}
    if not scores:
        raise InputError(f"{folder} has no scores on {split}: run `{command('velm', 'test', folder)}` first")
    other = [part for part, mark in record.get("data", {}).items() if mark != data.fingerprint(part)]
    if other:
        raise InputError(
            f"{folder} was trained on other data or for another task ({', '.join(other)} differ): name its own config, "
            f"{folder / 'config.yaml'}"
        )
    return folder.name, {**scores, "elapsed": record.get("minutes", float("nan"))}


def table(title: str, baseline: Mapping[int, dict[str, float]], runs: Sequence[tuple[str, dict[str, float]]]) -> Result:
    """Return the rows of the baseline, their mean, and the rows of the runs, their mean and the difference of means."""
    rows = list(baseline.values())
    others = ("elapsed", "cpu", "epochs")
    names = [name for name in rows[0] if name not in others and not name.endswith(("_r5", "_r10"))]  # 80 columns
    short = [name.replace("text_to_image", "t2i").replace("image_to_text", "i2t") for name in names]
    result = Result(title, ["", *short, "min", "CPU min", "epochs"])

    def add(label: str, values: Mapping[str, float]) -> None:
        cells: list[Cell] = [100 * values[name] if name in values else None for name in names]
        result.add_row(label, *cells, values.get("elapsed"), values.get("cpu"), values.get("epochs"))

    for seed, values in baseline.items():
        add(f"baseline, seed {seed}", values)
    ours, theirs = _mean([values for _, values in runs]), _mean(rows)
    if len(rows) > 1:
        add("baseline, mean", theirs)
    if runs:
        result.add_section()
        for label, values in runs:
            add(label, values)
        if len(runs) > 1:
            add("runs, mean", ours)
        result.add_section()
        add("difference, points", {name: ours[name] - theirs[name] for name in names if name in ours})
    return result


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else ())}


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(before: tuple[float, float]) -> dict[str, float]:
    now = _clocks()
    return {"elapsed": now[0] - before[0], "cpu": now[1] - before[1]}

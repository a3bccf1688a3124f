"""Recomputes the reported figures of a run from its stored predictions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.io.configurable import build
from velm_lightning.io.files import inside, interpreting, read_text
from velm_lightning.io.plain import MOST_RECORD, checked_size, number_of
from velm_lightning.io.record_files import read_json
from velm_lightning.nn.size_limit import size_limit
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.rows import group_scores, sizes
from velm_lightning.types import InputError, Prediction

TOLERANCE = 1e-9
"""Relative and absolute difference below which two figures agree."""
_LARGEST, _MOST_PARTS = 2**28, 10_000  # bytes and parts of a task, whose head is not built


class Figure(NamedTuple):
    """A reported figure and its value recomputed from the predictions; NaN if one of them is missing."""

    split: str
    name: str
    reported: float
    computed: float

    @property
    def agrees(self) -> bool:
        """Whether both values are the same up to ``TOLERANCE``."""
        return _same(self.reported, self.computed)


def verify(folder: Path, allow: Sequence[str] = ()) -> list[Figure]:
    """Recompute the figures of a run: every prediction is scored again against its references.

    A score that the task computes in ``predict`` only, not in ``Task.score``, is taken as it is stored.

    Args:
        folder: the run's folder.
        allow: packages, in addition to this one, whose classes the run may name.

    Raises:
        InputError: there is no evaluation in the folder, or its record or its predictions cannot be read.
    """
    path = folder / "run.json"
    record = read_json(checked_size(path, MOST_RECORD)) if path.is_file() else {}
    if not isinstance(record, dict) or not record.get("scores"):
        raise InputError(f"{folder} holds no evaluated run: give a folder with run.json and predictions")
    figures: list[Figure] = []
    with interpreting(folder, "a run"):
        for split in record["scores"]:
            rows = read_rows(inside(folder / "predictions", f"{split}.jsonl", follow=True))
            figures += _figures(record, split, rows, task_of(record, split, allow))
    return figures


def task_of(record: Mapping[str, Any], split: str, allow: Sequence[str] = ()) -> Task:
    """Return the task that scored an evaluation; runs of earlier versions record only the task of the training."""
    model = record.get("evaluations", {}).get(split, record).get("model")
    with size_limit(_LARGEST, "the scoring of predictions", _MOST_PARTS):
        task = build(model["init_args"]["task"], allow)
    if not isinstance(task, Task):
        raise InputError(f"run.json names {type(task).__name__} as the task of {split}, which is none: correct it")
    return task


def _figures(record: Mapping[str, Any], split: str, stored: Sequence[Prediction], task: Task) -> Iterator[Figure]:
    rows = _scored_again(task, stored)
    reported = dict(record["scores"][split])
    computed = {**task.compute_metrics(rows), **sizes(rows)}
    groups = record.get("groups", {}).get(split, {})
    reported |= {f"score · {name}": value for name, value in groups.items()}
    computed |= {f"score · {name}": score for name, (_, score) in group_scores(rows).items()}
    for name, floor in record.get("floors", {}).get(split, {}).items():
        if "answer" in floor:
            numbers = {figure: value for figure, value in floor.items() if isinstance(value, int | float)}
            again = task.constant_metrics(rows, floor["answer"])
            reported |= {f"{name} · {figure}": value for figure, value in numbers.items() if figure in again}
            computed |= {f"{name} · {figure}": again[figure] for figure in numbers if figure in again}
    for name in dict.fromkeys([*reported, *computed]):
        yield Figure(split, name, number_of(reported.get(name)), computed.get(name, math.nan))
    odd = [new.key for old, new in zip(stored, rows, strict=True) if not _same(old.score, new.score)]
    yield Figure(split, f"samples with another score{f', as {odd[0]}' if odd else ''}", 0, len(odd))


def _scored_again(task: Task, stored: Sequence[Prediction]) -> list[Prediction]:
    """Return the rows with scores computed from predictions and references, or the stored ones if the task has none."""
    rows = task.score([row._replace(score=math.nan) for row in stored])
    return [
        new._replace(score=old.score) if math.isnan(new.score) else new for old, new in zip(stored, rows, strict=True)
    ]


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(a) and math.isnan(b))


def read_rows(path: Path) -> list[Prediction]:
    """Read a file of predictions, one JSON object per line.

    Raises:
        InputError: the file is missing, or a line is not a prediction.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: was it moved?")
    rows = []
    for number, line in enumerate(read_text(checked_size(path)).split("\n"), 1):
        if not line:
            continue
        try:
            values = json.loads(line)
            values.pop("file", None)  # of the picture, which `velm predict` writes
            numbers = {name: math.nan if values[name] is None else values[name] for name in _NUMBERS}
            rows.append(Prediction(**values | numbers | {"references": tuple(values["references"] or ())}))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{path}:{number}: not a prediction: {error}") from error
    return rows


_NUMBERS = ("score", "confidence", "loss")

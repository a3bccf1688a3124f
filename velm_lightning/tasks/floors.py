"""Baseline scores without a model: the most frequent training answer, or answers drawn by their frequency."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from velm_lightning.tasks.rows import mean
from velm_lightning.types import Prediction, Sample

if TYPE_CHECKING:
    from velm_lightning.tasks.base import Task

Floors = dict[str, dict[str, Any]]
"""Maps ``majority``, ``prior`` and ``chance`` to their ``score``; constant answers also have ``answer`` and metrics."""


def training_answers(samples: Iterable[Sample]) -> dict[str, float]:
    """Return how often each target occurs in training, as shares that sum to 1, most frequent first.

    Each sample counts once, divided among its answers by their weights, and a conversation once per reply; equally
    frequent targets keep their order.
    """
    counts: Counter[str] = Counter()
    for sample in samples:
        counts.update(sample.sentences)
        answers: Mapping[str, float] = sample.target if isinstance(sample.target, Mapping) else {}
        total = sum(answers.values())
        counts.update({answer: weight / total for answer, weight in answers.items() if weight})
    return {answer: count / counts.total() for answer, count in counts.most_common()}


def constant(task: Task, rows: Sequence[Prediction], answer: str) -> list[Prediction]:
    """Return the scored rows of a model that always predicts ``answer``."""
    nan = math.nan
    return task.score([row._replace(prediction=answer, score=nan, confidence=nan, loss=nan) for row in rows])


def majority(task: Task, rows: Sequence[Prediction], answers: Mapping[str, float]) -> dict[str, Any]:
    """Return the metrics of the most frequent training answer, and by how much the score of ``rows`` exceeds it.

    ``lead`` is the difference of the headline metrics; ``lead_error`` is the standard error of the mean difference of
    the samples' scores, clustered by image. Both are missing if the rows have no scores.
    """
    answer = next(iter(answers))
    always = constant(task, rows, answer)
    figures = {name: value for name, value in task.compute_metrics(always).items() if not math.isnan(value)}
    floor = {"answer": answer, **figures}
    if "score" in figures and any(not math.isnan(row.score) for row in rows):
        pairs = [(row.image or row.key, row.score - other.score) for row, other in zip(rows, always, strict=True)]
        floor["lead"] = task.compute_metrics(rows)["score"] - figures["score"]
        floor["lead_error"] = clustered_error([pair for pair in pairs if not math.isnan(pair[1])])
    return floor


def clustered_error(values: Sequence[tuple[str, float]]) -> float:
    """Return the standard error of a mean over values (N,) with the names of their clusters; NaN with fewer than two.

    Example:
        >>> clustered_error([("a", 0.0), ("b", 1.0)])
        0.5
    """
    average = mean(value for _, value in values)
    sums: dict[str, float] = {}
    for name, value in values:
        sums[name] = sums.get(name, 0.0) + value - average
    if len(sums) < 2:
        return math.nan
    return math.sqrt(math.fsum(value**2 for value in sums.values()) * len(sums) / (len(sums) - 1)) / len(values)


def rows_of(samples: Iterable[Sample]) -> list[Prediction]:
    """Return the rows of samples without predictions."""
    nothing = math.nan
    return [
        Prediction(
            key=sample.key,
            group=sample.group,
            prompt=sample.text,
            prediction="",
            references=tuple(sample.references or ()),
            score=nothing,
            confidence=nothing,
            loss=nothing,
        )
        for sample in samples
    ]


def describe(floors: Floors, metric: str) -> str:
    """Return a sentence with the scores of floors; empty if there are none."""
    parts = []
    for name, floor in floors.items():
        what = f"always answering {_short(floor['answer'])}" if "answer" in floor else _NAMES.get(name, name)
        parts.append(f"{what} scores {floor.get('score', math.nan):.4f}")
    return f"{', '.join(parts)} ({metric})" if parts else ""


def label(name: str, floor: Mapping[str, Any]) -> str:
    """Return the name of a floor in a table."""
    return f"{name} answer {_short(floor['answer'])}" if "answer" in floor else name


def not_beaten(floor: Mapping[str, Any]) -> bool:
    """Return whether a model's score exceeds a constant answer's by no more than the standard error."""
    return "lead" in floor and not floor["lead"] > floor["lead_error"]


_NAMES = {"prior": "drawing answers by their training frequency", "chance": "ranking at random"}


def _short(answer: str) -> str:
    return repr(answer if len(answer) <= 40 else f"{answer[:39]}…")

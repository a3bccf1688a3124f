"""What a split's score is worth without a model: always the most frequent training answer, or answers by frequency."""

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
"""By name (``majority``, ``prior``, ``chance``): ``score``, and for a constant answer ``answer`` and its figures."""


def training_answers(samples: Iterable[Sample]) -> dict[str, float]:
    """Return how often each target occurs in training, as shares that sum to 1, most frequent first.

    A sample counts once, for several answers by their weights; of equally frequent targets the first one comes first.
    """
    counts: Counter[str] = Counter()
    for sample in samples:
        answers = {sample.target: 1.0} if isinstance(sample.target, str) else sample.target or {}
        total = sum(answers.values())
        counts.update({answer: weight / total for answer, weight in answers.items() if weight})
    return {answer: count / counts.total() for answer, count in counts.most_common()}


def constant(task: Task, rows: Sequence[Prediction], answer: str) -> list[Prediction]:
    """Return the rows as a model leaves them that always gives ``answer``, scored by the task."""
    nan = math.nan
    return task.score([row._replace(prediction=answer, score=nan, confidence=nan, loss=nan) for row in rows])


def majority(task: Task, rows: Sequence[Prediction], answers: Mapping[str, float]) -> dict[str, Any]:
    """Return the figures of the most frequent training answer, and by how much the rows' own score exceeds it.

    ``lead`` is the difference of the headline figures; ``lead_error`` is the standard error of the mean difference of
    the samples' scores, clustered by picture. Both are left out if the rows have no scores yet.
    """
    answer = next(iter(answers))
    always = constant(task, rows, answer)
    figures = {name: value for name, value in task.compute_metrics(always).items() if not math.isnan(value)}
    found = {"answer": answer, **figures}
    if "score" in figures and any(not math.isnan(row.score) for row in rows):
        pairs = [(row.image or row.key, row.score - other.score) for row, other in zip(rows, always, strict=True)]
        found["lead"] = task.compute_metrics(rows)["score"] - figures["score"]
        found["lead_error"] = clustered_error([pair for pair in pairs if not math.isnan(pair[1])])
    return found


def clustered_error(values: Sequence[tuple[str, float]]) -> float:
    """Return the standard error of a mean over values (N,) with the names of their clusters; NaN below two clusters.

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
    return math.sqrt(math.fsum(one**2 for one in sums.values()) * len(sums) / (len(sums) - 1)) / len(values)


def rows_of(samples: Iterable[Sample]) -> list[Prediction]:
    """Return the rows of samples that nothing has been predicted for."""
    nothing = math.nan
    return [
        Prediction(one.key, one.group, one.text, "", tuple(one.references or ()), nothing, nothing, nothing)
        for one in samples
    ]


def describe(floors: Floors, metric: str) -> str:
    """Return in words what floors score; empty if there are none."""
    parts = []
    for name, floor in floors.items():
        what = f"always answering {_short(floor['answer'])}" if "answer" in floor else _NAMES.get(name, name)
        parts.append(f"{what} scores {floor.get('score', math.nan):.4f}")
    return f"{', '.join(parts)} ({metric})" if parts else ""


def label(name: str, floor: Mapping[str, Any]) -> str:
    """Return the name under which a floor stands in a table."""
    return f"{name} answer {_short(floor['answer'])}" if "answer" in floor else name


def not_beaten(floor: Mapping[str, Any]) -> bool:
    """Return whether a model's score exceeds a constant answer's by no more than the standard error."""
    return "lead" in floor and not floor["lead"] > floor["lead_error"]


_NAMES = {"prior": "drawing answers by their training frequency", "chance": "ranking at random"}


def _short(answer: str) -> str:
    return repr(answer if len(answer) <= 40 else f"{answer[:39]}…")

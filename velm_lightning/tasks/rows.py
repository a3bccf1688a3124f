"""The evaluation table: rows of a batch, the rows of all processes, and means over rows and groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch.distributed as dist

from velm_lightning.io.groups import enclosing
from velm_lightning.types import Batch, Prediction

T = TypeVar("T")

WITHOUT_REFERENCES = "without_references"
"""The key of the number of samples without references."""


def prediction_of(
    batch: Batch,
    index: int,
    prediction: str,
    *,
    score: float = math.nan,
    confidence: float = math.nan,
    loss: float = math.nan,
    references: tuple[str, ...] | None = None,
) -> Prediction:
    """Return the row of sample ``index`` of a batch; its references are those of the sample unless given."""
    return Prediction(
        key=batch.keys[index],
        group=batch.groups[index],
        prompt=batch.prompts[index],
        prediction=prediction,
        references=batch.references[index] if references is None else references,
        score=score,
        confidence=confidence,
        loss=loss,
        image=batch.image_names[index],
    )


def all_gather_objects(part: T) -> list[T]:
    """Return the ``part`` of every process, in the order of ranks, on every process."""
    if not (dist.is_available() and dist.is_initialized()):
        return [part]
    parts = [part] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return parts


def gather_rows(rows: Sequence[Prediction]) -> list[Prediction]:
    """Return the rows of all processes, sorted by key: the same table for any number of processes."""
    return sorted((row for part in all_gather_objects(list(rows)) for row in part), key=lambda row: row.key)


def mean(values: Iterable[float]) -> float:
    """Return the exactly rounded mean of all values but NaN, independent of their order; NaN if there are none."""
    numbers = [value for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def sizes(rows: Sequence[Prediction]) -> dict[str, int]:
    """Return the number of samples and, if there are any, the number of samples without references and score."""
    missing = sum(not row.references and math.isnan(row.score) for row in rows)
    return {"samples": len(rows)} | ({WITHOUT_REFERENCES: missing} if missing else {})


def group_scores(rows: Sequence[Prediction]) -> dict[str, tuple[int, float]]:
    """Return the number of samples and the mean score of every named group and its parts, sorted by name."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        for name in enclosing(row.group):
            groups.setdefault(name, []).append(row.score)
    return {name: (len(scores), mean(scores)) for name, scores in sorted(groups.items())}

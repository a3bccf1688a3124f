"""The evaluation table: one row a sample, gathered from all ranks, and what is computed from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch.distributed as dist

from velm_lightning.types import Prediction

T = TypeVar("T")

WITHOUT_REFERENCES = "without_references"
"""Name of the number of samples that have no score."""


def all_gather_objects(part: T) -> list[T]:
    """Return what each of the processes gives, in their order, on all of them."""
    if not (dist.is_available() and dist.is_initialized()):
        return [part]
    parts = [part] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return parts


def gather_rows(rows: Sequence[Prediction]) -> list[Prediction]:
    """Bring the rows of all ranks together on every rank, sorted by key: the same table at any world size."""
    return sorted((row for part in all_gather_objects(list(rows)) for row in part), key=lambda row: row.key)


def mean(values: Iterable[float]) -> float:
    """Return the exactly rounded mean of what is not NaN, whatever the order; NaN where nothing is left."""
    kept = [value for value in values if not math.isnan(value)]
    return math.fsum(kept) / len(kept) if kept else math.nan


def sizes(rows: Sequence[Prediction]) -> dict[str, int]:
    """Return the number of samples and, if there are such, of those without references, which have no score."""
    missing = sum(not row.references for row in rows)
    return {"samples": len(rows)} | ({WITHOUT_REFERENCES: missing} if missing else {})


def group_scores(rows: Sequence[Prediction]) -> dict[str, tuple[int, float]]:
    """Return the number of samples and the mean score of every group that has a name, sorted by name."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.group:
            groups.setdefault(row.group, []).append(row.score)
    return {name: (len(scores), mean(scores)) for name, scores in sorted(groups.items())}

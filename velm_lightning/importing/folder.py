"""Writes the run folder of imported predictions: ``run.json`` and ``predictions/``, without a config or checkpoints."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.importing.reference_run import ReferenceRun
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.configurable import to_config
from velm_lightning.metrics.signature import split_fingerprint
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.rows import group_scores, sizes
from velm_lightning.tracking.run import Run, now
from velm_lightning.types import Prediction


class System(NamedTuple):
    """The system that made the predictions.

    Attributes:
        name: its name in tables.
        seed: the seed of its training or sampling.
        source: the format and the file, for the record.
    """

    name: str
    seed: int
    source: Mapping[str, Any]


def write_run(
    place: Path, system: System, split: str, rows: Sequence[Prediction], task: Task, like: ReferenceRun | None = None
) -> Run:
    """Write the folder ``<place>/<name>-s<seed>-<digest>`` of a run and return it; the same rows get the same folder.

    Args:
        place: the folder of the experiment.
        system: the system.
        split: the name of the split.
        rows: the scored predictions.
        task: the task that scored them, with which ``velm verify`` scores them again.
        like: the run whose samples they are; its data and signature are recorded, so that both are compared in pairs.

    Raises:
        InputError: The folder cannot be written.
    """
    run = Run(place / _ident(system, split, rows))
    run.write_predictions(split, rows)
    fingerprint = split_fingerprint((row.key, row.references) for row in rows)
    figures = {name: value for name, value in task.compute_metrics(rows).items() if not math.isnan(value)}
    run.update(
        id=run.folder.name,
        experiment=place.name,
        status="finished",
        started=now(),
        seed=system.seed,
        imported={"method": system.name, **system.source},
        model={"class_path": system.name, "init_args": {"task": to_config(task)}},
        data=like.record.get("data") if like else {split: fingerprint},
        signature=like.record.get("signature") if like else task.signature(f"{split}:{fingerprint}"),
        scores={split: figures | sizes(rows)},
        groups={split: {name: score for name, (_, score) in group_scores(rows).items()}},
    )
    return run


def write_thumbnails(run: Run, split: str, lines: str) -> None:
    """Write the thumbnails of a split, one JSON object per line."""
    write_atomic(run.folder / "predictions" / f"{split}.pictures.jsonl", lines)


def _ident(system: System, split: str, rows: Sequence[Prediction]) -> str:
    digest = hashlib.sha256(repr((system.name, system.seed, split, rows)).encode("utf-8", "replace")).hexdigest()
    word = re.sub(r"[^a-z0-9]+", "-", system.name.lower()).strip("-") or "system"
    return f"{word}-s{system.seed}-{digest[:6]}"

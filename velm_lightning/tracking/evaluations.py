"""Names the entry of ``run.json`` that an evaluation is stored under: the split, or the split with the differences.

A run's own figures of a split are computed with its data, its chosen checkpoint and its settings. Any other evaluation,
for example on other data, is stored next to them under a name that states the differences.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning import Trainer

from velm_lightning.checkpoints.checkpoint import differences
from velm_lightning.metrics.signature import split_fingerprint
from velm_lightning.tracking.run import Run
from velm_lightning.types import Prediction

_TRAINING_ONLY = ("vocabulary", "optimization", "init_from")
"""Arguments of a model that have no effect once its weights are loaded."""


class Conditions(NamedTuple):
    """The conditions that determine the figures of an evaluation.

    Attributes:
        data: fingerprint of the split.
        samples: fingerprint of the samples that were scored.
        checkpoint: name of the file; empty if no checkpoint was read.
        model: classes and arguments of the model, except those that only training uses.
        seed: seed of the permutation of the images; None if every sample has its own image.
    """

    data: str
    samples: str
    checkpoint: str
    model: dict[str, Any]
    seed: int | None


def conditions(trainer: Trainer, split: str, model: dict[str, Any], rows: Sequence[Prediction]) -> Conditions:
    """Return the conditions of an evaluation that has just ended.

    Args:
        trainer: the trainer that ran the evaluation.
        split: ``val`` or ``test``.
        model: classes and arguments of the model.
        rows: the predictions.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return Conditions(
        data=data.fingerprint(split),
        samples=split_fingerprint((row.key, row.references) for row in rows),
        checkpoint=Path(trainer.ckpt_path).name if trainer.ckpt_path else "",
        model=evaluation_config(model),
        seed=data.seed if data.incongruent else None,
    )


def covers_split(trainer: Trainer) -> bool:
    """Return whether the trainer evaluates a complete split rather than its first batches."""
    limits = trainer.limit_val_batches, trainer.limit_test_batches, trainer.limit_predict_batches
    limit = limits[(trainer.validating, trainer.testing, trainer.predicting).index(True)]
    return isinstance(limit, float) and limit == 1.0  # 1 is one batch


def own_conditions(run: Run, split: str, now: Conditions, complete: bool = True) -> Conditions:
    """Return the conditions of a run's own figures of a split: those stored, or else those of training.

    Args:
        run: the run.
        split: ``val`` or ``test``.
        now: the conditions of the evaluation that has just ended.
        complete: whether that evaluation covered the complete split.
    """
    record = run.record
    seed = record.get("seed", now.seed)
    with run.interpreting():
        if stored := record.get("evaluations", {}).get(split):
            return Conditions(**stored)._replace(seed=seed)
        if "data" not in record:  # nothing was trained here: the first evaluation is the run's own
            return now
        data, checkpoint = record["data"].get(split, ""), record.get("checkpoint", "best.ckpt")
        return Conditions(data, now.samples if complete else "", checkpoint, evaluation_config(record["model"]), seed)


def name_of(title: str, now: Conditions, own: Conditions, file: Path | None = None) -> tuple[str, list[str]]:
    """Return the name that figures are stored under, and a phrase per difference from the run's own conditions.

    Args:
        title: name of the split, which states whether its images are permuted.
        now: the conditions of the evaluation.
        own: the conditions of the run's own figures.
        file: the file of the samples; None if they do not come from a single file.
    """
    differing = list(_labels(now, own, file))
    name = "+".join(label for label, _ in differing)
    return f"{title}@{name}" if name else title, [phrase for _, phrase in differing]


def _labels(now: Conditions, own: Conditions, file: Path | None) -> Iterator[tuple[str, str]]:
    if now.data != own.data:
        label = now.data[:8] if file is None else f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', file.stem)}-{now.data[:8]}"
        yield label, "other data" if own.data else "new data"
    elif now.samples != own.samples:
        yield f"part-{now.samples}", "other samples of the split"
    if now.checkpoint != own.checkpoint:
        yield Path(now.checkpoint).stem or "untrained", f"checkpoint {now.checkpoint}, not {own.checkpoint}"
    if now.model != own.model:
        changes = "; ".join(differences(own.model, now.model))
        yield f"settings-{_digest(now.model)}", f"{changes:.300}"
    if now.seed not in (None, own.seed):
        yield f"seed-{now.seed}", f"seed {now.seed}"


def evaluation_config(model: dict[str, Any]) -> dict[str, Any]:
    """Return classes and arguments of a model without those that only training uses, converted by JSON."""
    arguments = {name: value for name, value in model["init_args"].items() if name not in _TRAINING_ONLY}
    converted: dict[str, Any] = json.loads(json.dumps(model | {"init_args": arguments}, default=str))
    return converted


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]

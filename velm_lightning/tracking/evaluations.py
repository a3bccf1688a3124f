"""The name under which the figures of an evaluation are kept: a run's own split, or an entry of its own.

A run's own figures of a split are those with which it ended: its data, its chosen checkpoint, its settings. Whatever
else is evaluated later, other data above all, is kept next to them under a name that says what is different.
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
"""Arguments of a model that decide nothing once its weights are there."""


class Conditions(NamedTuple):
    """What decides the figures of an evaluation.

    Attributes:
        data: fingerprint of the split.
        samples: fingerprint of the samples that were scored.
        checkpoint: name of the file; empty if no checkpoint was read.
        model: classes and arguments of the model, except those that only training uses.
        seed: seed by which the pictures were exchanged; None if every sample was shown its own.
    """

    data: str
    samples: str
    checkpoint: str
    model: dict[str, Any]
    seed: int | None


def conditions(trainer: Trainer, split: str, model: dict[str, Any], rows: Sequence[Prediction]) -> Conditions:
    """Return the conditions of an evaluation that has just ended.

    Args:
        trainer: what evaluated.
        split: ``val`` or ``test``.
        model: classes and arguments of the model.
        rows: what was predicted.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return Conditions(
        data=data.fingerprint(split),
        samples=split_fingerprint((row.key, row.references) for row in rows),
        checkpoint=Path(trainer.ckpt_path).name if trainer.ckpt_path else "",
        model=lasting(model),
        seed=data.seed if data.incongruent else None,
    )


def whole(trainer: Trainer) -> bool:
    """Return whether the trainer evaluates a whole split, and not its first batches only."""
    limits = trainer.limit_val_batches, trainer.limit_test_batches, trainer.limit_predict_batches
    limit = limits[(trainer.validating, trainer.testing, trainer.predicting).index(True)]
    return isinstance(limit, float) and limit == 1.0  # 1 is one batch


def own_conditions(run: Run, split: str, now: Conditions, whole: bool = True) -> Conditions:
    """Return the conditions of a run's own figures of a split: as they were stored, or else as training leaves them.

    Args:
        run: the run.
        split: ``val`` or ``test``.
        now: the conditions of the evaluation that has just ended.
        whole: whether that was of the whole split.
    """
    record = run.record
    seed = record.get("seed", now.seed)
    if stored := record.get("evaluations", {}).get(split):
        return Conditions(**stored)._replace(seed=seed)
    if "data" not in record:  # nothing was trained here: the first evaluation is the run's own
        return now
    data, checkpoint = record["data"].get(split, ""), record.get("checkpoint", "best.ckpt")
    return Conditions(data, now.samples if whole else "", checkpoint, lasting(record["model"]), seed)


def name_of(title: str, now: Conditions, own: Conditions, file: Path | None = None) -> tuple[str, list[str]]:
    """Return the name under which figures are kept, and what is different from the run's own, a phrase each.

    Args:
        title: the split, and whether its pictures were exchanged.
        now: the conditions.
        own: the conditions of the run's own figures.
        file: where the samples come from, if that is one file.
    """
    found = list(_labels(now, own, file))
    name = "+".join(label for label, _ in found)
    return f"{title}@{name}" if name else title, [phrase for _, phrase in found]


def _labels(now: Conditions, own: Conditions, file: Path | None) -> Iterator[tuple[str, str]]:
    if now.data != own.data:
        label = now.data[:8] if file is None else f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', file.stem)}-{now.data[:8]}"
        yield label, "other data" if own.data else "data that the run had none of"
    elif now.samples != own.samples:
        yield f"part-{now.samples}", "other samples of the split"
    if now.checkpoint != own.checkpoint:
        yield Path(now.checkpoint).stem or "untrained", f"checkpoint {now.checkpoint}, not {own.checkpoint}"
    if now.model != own.model:
        changes = "; ".join(differences(own.model, now.model))
        yield f"settings-{_digest(now.model)}", f"{changes:.300}"
    if now.seed not in (None, own.seed):
        yield f"seed-{now.seed}", f"seed {now.seed}"


def lasting(model: dict[str, Any]) -> dict[str, Any]:
    """Return classes and arguments of a model without those that only training uses, as JSON gives them back."""
    kept = {name: value for name, value in model["init_args"].items() if name not in _TRAINING_ONLY}
    found: dict[str, Any] = json.loads(json.dumps(model | {"init_args": kept}, default=str))
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]

"""Samples as JSON records, the form in which they are stored and packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from velm_lightning.types import Image, Sample, Turn


def record_of(sample: Sample, image: object) -> list[Any]:
    """Return the record of a sample, in which ``image`` stands for its image."""
    target = sample.target if sample.target is None or isinstance(sample.target, str) else dict(sample.target)
    record = [sample.key, image, sample.text, target, list(sample.references or ()), sample.group]
    return [*record, list(sample.turns)] if sample.turns else record


def sample_of(record: Any, image_of: Callable[[Any], Image]) -> Sample:
    """Return the sample of a record, whose image ``image_of`` turns back.

    Raises:
        ValueError: It has another number of parts.
        TypeError: A part has another type.
    """
    key, image, text, target, references, group, *more = record
    if not all(isinstance(word, str) for word in (key, text, group, *references)):
        raise TypeError("key, text, group and references must be texts")
    if not isinstance(target, str | None):
        target = {str(answer): float(weight) for answer, weight in dict(target).items()}
    turns = tuple(Turn(role, tuple(parts), learned) for role, parts, learned in (more[0] if more else ()))
    return Sample(key, image_of(image), text, target, tuple(references), group, turns)

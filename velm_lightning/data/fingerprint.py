"""The fingerprint of a split, by which runs on the same data are recognised."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from velm_lightning.io.digests import ImageMarks
from velm_lightning.types import Sample


def fingerprint_of(samples: Iterable[Sample]) -> str:
    """Return 16 hexadecimal digits that change with any key, text, target, reference or image of the samples."""
    digest, marks = blake2b(digest_size=8), ImageMarks()
    for sample in samples:
        text: tuple[object, ...] = (sample.key, sample.text, sample.target, sample.references, sample.group)
        text += sample.turns  # none in other data, whose fingerprint stays
        digest.update(repr((*text, marks.of(sample.image))).encode())
    return digest.hexdigest()

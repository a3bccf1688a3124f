"""Rows that are references of one sample, as in tables with one caption per row."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from velm_lightning.data.datasets.located import Located
from velm_lightning.io.digests import image_key


def with_all_references(samples: Iterable[Located]) -> list[Located]:
    """Return samples of an evaluation, of which those with the same image, text and group are one.

    Only samples with target sentences are joined, no conversations. The key and the target are those of the first, the
    references those of all, in order.
    """
    joined: dict[Hashable, Located] = {}
    for number, located in enumerate(samples):
        sample = located.sample
        same: Hashable = (image_key(sample.image), sample.text, sample.group)
        first = joined.setdefault(same if isinstance(sample.target, str) and not sample.turns else number, located)
        if first is not located:
            references = (*(first.sample.references or ()), *(sample.references or ()))
            joined[same] = first._replace(sample=first.sample._replace(references=references))
    return list(joined.values())

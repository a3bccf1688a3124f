"""Rows that are references of one sample, as in tables with one caption per row."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

from velm_lightning.data.datasets.located import Located
from velm_lightning.io.digests import image_key


def with_all_references(samples: Sequence[Located]) -> Iterator[Located]:
    """Yield the samples of an evaluation; those with the same image, text and group become one.

    Only samples with target sentences are joined, not conversations. The key and the target are those of the first, the
    references those of all, in order.
    """
    later = _repetitions(samples)
    joined = {number for numbers in later.values() for number in numbers}
    for number, located in enumerate(samples):
        if number in later:
            every = [located.sample, *(samples[other].sample for other in later[number])]
            references = tuple(reference for sample in every for reference in sample.references or ())
            yield located._replace(sample=located.sample._replace(references=references))
        elif number not in joined:
            yield located


def _repetitions(samples: Iterable[Located]) -> dict[int, list[int]]:
    """Return the numbers of the samples that repeat the image, text and group of an earlier one, by its number."""
    first, later = dict[Hashable, int](), dict[int, list[int]]()
    for number, (_, sample) in enumerate(samples):
        if isinstance(sample.target, str) and not sample.turns:
            same = first.setdefault((image_key(sample.image), sample.text, sample.group), number)
            if same != number:
                later.setdefault(same, []).append(number)
    return later

"""The length of generated sentences, how often one sentence is repeated, and the phrases that they miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.reading import Scores

WORDS = 4
"""Median number of words of the references from which predictions are sentences."""

MOST_REPEATED, MOST_MISSED, FEWEST = 3, 6, 5
"""Number of repeated sentences and of missed phrases that are shown, and of samples in which a phrase is expected."""


class Sentences(NamedTuple):
    """The sentences of a method.

    Attributes:
        words: their mean number of words.
        reference_words: that of the first references.
        distinct: the share of different sentences among the predictions, the mean over seeds.
        repeated: the most frequent sentences over all seeds, with their shares.
        missed: words and pairs of words that most references of a sample have and the prediction lacks most often: how
            often they are expected, over all seeds, and how often they are missed.
    """

    words: float
    reference_words: float
    distinct: float
    repeated: list[tuple[str, float]]
    missed: list[tuple[str, int, int]]


def sentences(runs: Sequence[Scores]) -> Sentences | None:
    """Return the sentences of the runs of a method, or None if the references are no sentences."""
    lengths = [len(references[0].split()) for references in runs[0].references if references]
    if not lengths or np.median(lengths) < WORDS:
        return None
    texts = [text for run in runs for text in run.predictions]
    return Sentences(
        words=float(np.mean([len(text.split()) for text in texts])),
        reference_words=float(np.mean(lengths)),
        distinct=float(np.mean([len(set(run.predictions)) / len(run.predictions) for run in runs])),
        repeated=[(text, count / len(texts)) for text, count in Counter(texts).most_common(MOST_REPEATED)],
        missed=_missed(runs),
    )


def _missed(runs: Sequence[Scores]) -> list[tuple[str, int, int]]:
    expected, missed = Counter[str](), Counter[str]()
    wanted = [_shared(references) for references in runs[0].references]
    for run in runs:
        for phrases, prediction in zip(wanted, run.predictions, strict=True):
            expected.update(phrases)
            missed.update(phrases - _phrases(prediction))
    often = [(text, expected[text], count) for text, count in missed.most_common() if expected[text] >= FEWEST]
    return sorted(often, key=lambda item: -item[2])[:MOST_MISSED]


def _shared(references: Sequence[str]) -> set[str]:
    """Return the words and pairs of words that most of the references have."""
    counts = Counter(phrase for text in references for phrase in _phrases(text))
    return {phrase for phrase, count in counts.items() if 2 * count > len(references)}


def _phrases(text: str) -> set[str]:
    words = text.lower().split()
    return {*words, *(f"{first} {second}" for first, second in pairwise(words))}

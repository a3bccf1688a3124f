"""The scores of a method by the reference answer, and which answers it gives instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.reading import Scores

SUPPORT = 10
"""Number of samples from which a reference answer is shown."""

MOST = 15
OTHER = "(other)"


class Answers(NamedTuple):
    """The answers of a method by the reference.

    Attributes:
        support: the number of samples per reference answer, the most frequent first.
        scores: the mean score per reference answer, over seeds.
        confusion: for each reference answer, the share of each answer of ``support`` and of all others among the
            predictions, over seeds.
    """

    support: dict[str, int]
    scores: dict[str, float]
    confusion: list[list[float]]


def answers(runs: Sequence[Scores]) -> Answers | None:
    """Return the answers of the runs of a method; None unless two reference answers are frequent enough."""
    counts = Counter(references[0] for references in runs[0].references if references)
    support = {text: count for text, count in counts.most_common(MOST) if count >= SUPPORT}
    if len(support) < 2:
        return None
    columns = {text: place for place, text in enumerate(support)}
    scores: dict[str, list[float]] = {text: [] for text in support}
    table = np.zeros((len(support), len(support) + 1))
    for run in runs:
        for references, prediction, score in zip(run.references, run.predictions, run.values, strict=True):
            if references and references[0] in columns:
                scores[references[0]].append(float(score))
                table[columns[references[0]], columns.get(prediction, len(support))] += 1
    shares = table / table.sum(1, keepdims=True)
    return Answers(support, {text: float(np.mean(values)) for text, values in scores.items()}, shares.tolist())

"""The ranks at which a retrieval finds what it looks for, by group of queries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.reading import Scores
from velm_lightning.io.groups import enclosing, group_names

KS = (1, 5, 10)
SHOWN = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Ranks at which the curve of recall is shown."""


class Ranks(NamedTuple):
    """The ranks of a method in one group of queries, over all seeds.

    Attributes:
        queries: the number of queries of one seed.
        median: the median rank.
        recall: the share of queries whose rank is at most k, for each k of ``SHOWN`` up to the first with all queries.
    """

    queries: int
    median: float
    recall: dict[int, float]

    def at(self, k: int) -> float:
        """Return recall at k, a rank of ``SHOWN``."""
        return self.recall.get(k, 1.0)


def ranks(runs: Sequence[Scores]) -> dict[str, Ranks]:
    """Return the ranks of the runs of a method by the group of the query; empty if a prediction has no rank.

    Example:
        >>> import numpy as np
        >>> nothing, numbers = ("",) * 4, np.zeros(4)
        >>> predictions = tuple(f"rank {rank}; first: a.png" for rank in (1, 1, 4, 20))
        >>> scores = Scores(nothing, nothing, nothing, numbers, numbers, predictions, ((),) * 4, nothing, numbers)
        >>> of_all = ranks([scores])[""]
        >>> of_all.median, of_all.at(1), of_all.at(5), of_all.at(10), of_all.at(50)
        (2.5, 0.5, 0.75, 0.75, 1.0)
    """
    groups: dict[str, list[int]] = {}
    for run in runs:
        for group, prediction in zip(run.groups, run.predictions, strict=True):
            match = re.match(r"rank (\d{1,9})\b", prediction)
            if match is None:
                return {}
            for name in enclosing(group) or [""]:
                groups.setdefault(name, []).append(int(match[1]))
    names = ["", *group_names(runs[0].groups)]
    return {group: _ranks(np.array(groups[group]), len(runs)) for group in names if group in groups}


def _ranks(values: np.ndarray[tuple[int], np.dtype[np.int64]], seeds: int) -> Ranks:
    recall: dict[int, float] = {}
    for k in SHOWN:
        recall[k] = float((values <= k).mean())
        if recall[k] == 1:
            break
    return Ranks(len(values) // seeds, float(np.median(values)), recall)

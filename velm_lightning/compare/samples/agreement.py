"""How often the runs of two methods give the same prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.grouping import Method
from velm_lightning.compare.reading import Scores
from velm_lightning.io.groups import belongs


class Agreement(NamedTuple):
    """The share of samples with the same prediction.

    Attributes:
        share: the mean over pairs of runs; NaN if there is none.
        samples: the number of samples.
    """

    share: float
    samples: int


def agreement(a: Method, b: Method, scores: Mapping[int, Scores], group: str | None = None) -> Agreement:
    """Return how often the runs of two methods agree: those of one seed, or in their order if they share no seed.

    Args:
        a: a method.
        b: another method, or the same: then each seed is compared with the next.
        scores: the predictions of each run, by its identity.
        group: the group of samples; None for all.
    """
    shares = [_share(scores[id(x)], scores[id(y)], group) for x, y in _pairs(a, b)]
    first = scores[id(a.runs[0])].groups
    size = len(first) if group is None else sum(belongs(name, group) for name in first)
    return Agreement(float(np.mean(shares)) if shares and size else float("nan"), size)


def _pairs(a: Method, b: Method) -> Sequence[tuple[object, object]]:
    if a is b:
        return list(zip(a.runs, a.runs[1:], strict=False))
    same = [(x, y) for x in a.runs for y in b.runs if x.seed == y.seed]
    return same or list(zip(a.runs, b.runs, strict=False))


def _share(a: Scores, b: Scores, group: str | None) -> float:
    equal = [
        x == y
        for x, y, name in zip(a.predictions, b.predictions, a.groups, strict=True)
        if group is None or belongs(name, group)
    ]
    return float(np.mean(equal)) if equal else float("nan")

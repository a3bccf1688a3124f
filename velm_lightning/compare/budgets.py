"""What a search reaches with a budget of trials, and which methods are worth their cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb, inf


def expected_best(values: Sequence[float]) -> list[float]:
    """Return the expected best of k = 1, 2, …, n runs drawn from n without replacement (Tang et al. 2020).

    It tells what a method reaches under a budget of k trials (Dodge et al. 2019).
    """
    ordered, n = sorted(values), len(values)
    return [
        sum(comb(below, k - 1) * value for below, value in enumerate(ordered) if below >= k - 1) / comb(n, k)
        for k in range(1, n + 1)
    ]


def pareto(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Return the places of those that no other beats in one and equals in the other, cheapest first."""
    return list(_front(costs, scores))


def _front(costs: Sequence[float], scores: Sequence[float]) -> Iterator[int]:
    best = -inf
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        if scores[index] > best:
            best = scores[index]
            yield index

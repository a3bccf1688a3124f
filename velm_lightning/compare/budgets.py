"""Computes the expected best figure of a search by its number of trials, and the Pareto front of figures and costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb, inf


def expected_best(values: Sequence[float]) -> list[float]:
    """Return the expected best of k = 1, 2, …, n runs drawn from n without replacement (Tang et al. 2020).

    This is the expected result of a method with a budget of k trials (Dodge et al. 2019).
    """
    ordered, n = sorted(values), len(values)
    return [
        sum(comb(below, k - 1) * value for below, value in enumerate(ordered) if below >= k - 1) / comb(n, k)
        for k in range(1, n + 1)
    ]


def pareto(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Return the indices of the points that no other point dominates, cheapest first; higher scores are better."""
    return list(_front(costs, scores))


def _front(costs: Sequence[float], scores: Sequence[float]) -> Iterator[int]:
    best = -inf
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        if scores[index] > best:
            best = scores[index]
            yield index

"""Computes the expected best figure of a search, the Pareto front of figures and costs, and the spread of budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from velm_lightning.compare.comparison import Comparison

_BUDGETS = {"trainable": "trained parameters", "training_flops_per_sample": "FLOPs of a training step per sample"}


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


def spreads(comparison: Comparison) -> list[str]:
    """Return a sentence on how far the budgets of the methods are apart; empty if they are not recorded."""
    spread = []
    for name, title in _BUDGETS.items():
        known = [run.cost(name) for run in comparison.runs if run.cost(name) > 0]
        if len(comparison.results) > 1 and len(known) == len(comparison.runs):
            low, high = min(known), max(known)
            spread.append(f"{title} {low:,.0f} to {high:,.0f} ({high / low - 1:.1%} apart)")
    return [f"Budgets: {'; '.join(spread)}."] if spread else []

"""Measures how good a plan of ``velm power`` is: the true power of the number of seeds that it computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from velm_lightning.compare.deciding.power import Components, plan, power
from velm_lightning.compare.statistics import Difference, Table, difference

CASES = {
    "2, 0.5, 0.5": Components(2.0**2, (0.5**2) * 100, (0.5**2) * 100),
    "1, 1, 1": Components(1.0**2, (1.0**2) * 100, (1.0**2) * 100),
    "0, 0.5, 2": Components(0.0, (0.5**2) * 100, (2.0**2) * 100),
}
"""Variances in squared points; the names are the standard deviations over seeds, over 100 images, and of the single
answers of one run about them."""

IMAGES, LEAST = 100, 3


def planned(draws: int) -> Iterator[Sequence[str]]:
    """Plans from few seeds: seeds that 80 % power needs, and the true power of the plan: 10 %, median and 90 %."""
    yield ["deviations", "gap", "needed", *(f"planned from {seeds} seeds" for seeds in (3, 5, 10))]
    for name, parts in CASES.items():
        for gap in (5.0, 3.0):
            enough = next((s for s in range(LEAST, 51) if power(parts, gap, s, IMAGES) >= 0.8), 51)
            powers = (_true_powers(parts, gap, seeds, max(20, draws // 100)) for seeds in (3, 5, 10))
            yield [name, f"{gap:g}", str(enough) if enough <= 50 else "> 50", *map(_three, powers)]


def _three(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.0%}" for value in np.quantile(values, [0.1, 0.5, 0.9]))


def _true_powers(parts: Components, gap: float, seeds: int, count: int) -> list[float]:
    """Return the true power of plans from studies of ``seeds`` seeds; a plan of more than 50 seeds counts as 50."""
    rng = np.random.default_rng(0)
    plans = (plan(_study(parts, gap, seeds, rng), gap, 1, LEAST).seeds for _ in range(count))
    return [power(parts, gap, int(min(needed, 50)), IMAGES) for needed in plans]


def _study(parts: Components, gap: float, seeds: int, rng: np.random.Generator) -> Difference:
    """Draw the difference of two methods over seeds and images."""
    over_seeds = rng.normal(gap, parts.seeds**0.5, (seeds, 1))
    answers = over_seeds + rng.normal(0, parts.images**0.5, IMAGES) + rng.normal(0, parts.noise**0.5, (seeds, IMAGES))
    runs = np.vstack([answers, np.zeros_like(answers)])
    table = Table(runs.mean(1), runs - runs.mean(1, keepdims=True))
    return difference(table, range(seeds), range(seeds, 2 * seeds), paired=True)

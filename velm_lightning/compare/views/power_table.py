"""Writes the table of seeds and images that tell a difference apart, for the terminal and the page."""

from __future__ import annotations

import math

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.deciding.power import MOST_IMAGES, Plan, plan
from velm_lightning.compare.pairs import Family, Pair
from velm_lightning.compare.statistics import MOST_SEEDS, least_seeds
from velm_lightning.compare.views.sheet import Sheet


def point(comparison: Comparison) -> float:
    """Return one point of the tested figure: 0.01, or 1 for figures of 0 to 100."""
    return 1.0 if max((abs(result.tested) for result in comparison.results), default=0.0) > 10 else 0.01


def power_sheet(comparison: Comparison, gap: float | None = None) -> Sheet:
    """Return the table of the numbers of seeds and images that tell ``gap`` apart, by default one point."""
    gap = point(comparison) if gap is None else gap
    rows = [_row(pair, plan_of(pair, comparison, gap)) for pair in comparison.pairs if pair.difference.seeds > 1]
    head = ["A", "B", "seeds × images now", "found now", "seeds", "images", "or both"]
    caption = (
        f"To find a difference of {gap:g} with 80 % power, in the family of all pairs (first level of Holm): seeds "
        "with these images, images with these seeds, or both. `found now` is the smallest difference found with 80 % "
        "power. Estimated from the variance over seeds, images and single answers of these runs: with few seeds a "
        "rough guide, without intervals."
    )
    return Sheet(f"what can be told apart: {comparison.tested}", head, rows, 2, caption)


def plan_of(pair: Pair, comparison: Comparison, gap: float) -> Plan:
    """Return the plan of a pair, in its family, or in that of all methods if the pair has too few seeds."""
    family = comparison.family
    if pair.difference.seeds < family.least or not family.tests:
        methods = {id(result) for other in comparison.pairs for result in (other.a, other.b)}
        family = Family(len(methods), least_seeds(max(2, len(methods))), family.pairs, family.pairs)
    return plan(pair.difference, gap, family.tests, family.least)


def _row(pair: Pair, needs: Plan) -> list[str]:
    seeds, images = needs.both
    return [
        pair.a.method.name,
        pair.b.method.name,
        f"{needs.seeds_now} × {needs.images_now:,}",
        "—" if math.isnan(needs.detectable) else f"{needs.detectable:.4f}",
        _count(needs.seeds, MOST_SEEDS),
        _count(needs.images, MOST_IMAGES),
        "—" if math.isnan(seeds) or math.isinf(seeds) else f"{seeds:.0f} × {images:,.0f}",
    ]


def _count(number: float, most: int) -> str:
    return "—" if math.isnan(number) else f"> {most:,}" if math.isinf(number) else f"{number:,.0f}"

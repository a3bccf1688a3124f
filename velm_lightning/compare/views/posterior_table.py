"""Writes the table of the probabilities that a difference is larger than a region of practical equivalence."""

from __future__ import annotations

import math

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.deciding.posterior import CERTAIN, Posterior, posterior
from velm_lightning.compare.pairs import Pair
from velm_lightning.compare.views.numbers import percent
from velm_lightning.compare.views.sheet import Sheet


def posterior_sheet(comparison: Comparison) -> Sheet:
    """Return the posteriors of all pairs; without rows if no region of equivalence was given."""
    rope = comparison.rope
    posteriors = [(pair, posterior(pair.difference, rope, comparison.tested_sign)) for pair in comparison.pairs]
    rows = [_row(pair, of) for pair, of in posteriors if not math.isnan(of.equal)] if rope else []
    head = ["A", "B", "A is better", f"within ±{rope:g}", "B is better", "posterior"]
    caption = (
        f"Probabilities that the true difference is above {rope:g}, within ±{rope:g} and below, given these runs, with "
        f"flat priors (Benavoli et al. 2017; Behrens–Fisher over seeds and images); from {100 * CERTAIN:.0f} % on the "
        "most probable is named if there are as many seeds as a claim needs. Each pair is by itself: no correction for "
        "the number of pairs or looks, and with one seed only about these two models. The intervals and claims are in "
        "the table of paired differences."
    )
    return Sheet(f"posterior of the differences of {comparison.tested}", head, rows, 2, caption)


def _row(pair: Pair, of: Posterior) -> list[str]:
    names = {"better": "A is better", "equal": "practically equal", "worse": "B is better", "open": "open"}
    verdict = names[of.verdict] if pair.difference.seeds >= pair.least else "too few seeds"
    return [pair.a.method.name, pair.b.method.name, *map(percent, of), verdict]

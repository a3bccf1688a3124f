"""Writes the tables of scores with costs, of other figures, of groups of samples, and of reliance on modalities."""

from __future__ import annotations

import math
from collections.abc import Sequence

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.reading import COSTS
from velm_lightning.compare.result import Result
from velm_lightning.compare.views.numbers import short, spread
from velm_lightning.compare.views.sheet import Sheet

SEEDS_ONLY = "95 % intervals over seeds (Student's t, images held fixed) of each mean separately"
OR_IMAGES = f"{SEEDS_ONLY}; with one seed, over images"


def score_sheet(comparison: Comparison) -> Sheet:
    """Return the table of the figure that is compared, with the costs."""
    costs = [name for name in COSTS if any(not math.isnan(result.costs[name]) for result in comparison.results)]
    head = ["method", "seeds", f"{comparison.metric.name} ± 95 %", *(COSTS[name] for name in costs)]
    rows = [_row(result, costs) for result in comparison.results]
    rows += [
        [f"{name} (no model)", "—", f"{value:.4f}", *("—" for _ in costs)] for name, value in comparison.floors.items()
    ]
    two = any(len(result.method.runs) == 2 for result in comparison.results)
    wide = " With two seeds ± is 12.7 standard errors (with three 4.3, with five 2.8)." if two else ""
    return Sheet(f"{comparison.metric.name} on {comparison.split}", head, rows, 1, f"Means; ± are {OR_IMAGES}.{wide}")


def _row(result: Result, costs: Sequence[str]) -> list[str]:
    return [
        _named(result),
        str(len(result.method.runs)),
        spread(result.score),
        *(short(result.costs[name]) for name in costs),
    ]


def figure_sheet(comparison: Comparison) -> Sheet:
    """Return the table of all other figures."""
    names = dict.fromkeys(
        name for result in comparison.results for name in result.figures if name != comparison.metric.name
    )
    rows = (
        [[_named(result), *(_figure(result, name) for name in names)] for result in comparison.results] if names else []
    )
    return Sheet(
        f"other figures on {comparison.split}", ["method", *names], rows, 1, "Means over seeds, without intervals."
    )


def _figure(result: Result, name: str) -> str:
    return f"{result.figures[name]:.4f}" if name in result.figures else ""


def reliance_sheet(comparison: Comparison) -> Sheet:
    """Return the table of the loss of score if a modality is shuffled or missing."""
    rows = [
        [_named(result), name, spread(owed.cost), f"{owed.perceptual:.1%}", f"{owed.missing[-1]:.4f}"]
        for result in comparison.results
        for name, owed in result.probe.items()
    ]
    head = ["method", "shuffled", "loss of score ± 95 %", "share of the score", "all missing"]
    caption = f"Loss of score if the modality is shuffled; ± are {SEEDS_ONLY}."
    return Sheet("reliance on each modality", head, rows, 2, caption)


def group_sheet(comparison: Comparison) -> Sheet:
    """Return the table of the tested figure by group of samples."""
    names = list(dict.fromkeys(name for result in comparison.results for name in result.groups))
    rows = (
        [[_named(result), *(spread(result.groups.get(name)) for name in names)] for result in comparison.results]
        if names
        else []
    )
    by = f" The data name no groups: these are by {comparison.grouped_by}." if comparison.grouped_by else ""
    caption = f"Family: groups. ± are {SEEDS_ONLY}: no test; the tests against the controls are in a table below.{by}"
    return Sheet(f"{comparison.tested} by group of samples", ["method", *names], rows, 1, caption)


def _named(result: Result) -> str:
    return f"{result.method.name} (control)" if result.method.control else result.method.name

"""Plots the score against each cost; the number in a marker is the row of the method in the table of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

from velm_lightning.compare.budgets import pareto
from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.panel import MOST_LINES, Figure, Panel, finite, label, layout_of
from velm_lightning.compare.reading import COSTS
from velm_lightning.compare.views.score_tables import OR_IMAGES

EQUAL, CLOSE = 1.02, 1.1
"""Ratios up to which costs count as equal, and are not drawn, or as close, and do not take the whole width."""


def cost_plot(comparison: Comparison, colours: dict[str, str]) -> Panel:
    """Return the plots of the score against the costs that are known."""
    variants = {title: figure for key, title in COSTS.items() if (figure := _figure(comparison, key, title, colours))}
    caption = (
        "The number in a dot is the row in the table of scores. The dotted line joins the means for which no other "
        "mean is better at the same or a lower cost; it is not a test. Costs within 2 % of each other are not drawn. "
        f"Error bars are {OR_IMAGES}."
    )
    return Panel("Score against cost", caption, variants)


def _figure(comparison: Comparison, key: str, title: str, colours: dict[str, str]) -> Figure:
    ranked = list(enumerate(comparison.results[:MOST_LINES], 1))
    known = [(place, result) for place, result in ranked if not math.isnan(result.costs[key])]
    x, y = [result.costs[key] for _, result in known], [result.score.value for _, result in known]
    if not x or max(x) <= EQUAL * min(x):
        return {}
    bars = {
        "type": "scatter", "mode": "markers", "x": x, "y": y, "marker": {"opacity": 0}, "showlegend": False,
        "error_y": {"type": "data", "array": [finite(result.score.half) for _, result in known], "color": "#888"},
        "hoverinfo": "skip",
    }  # fmt: skip
    dots = [
        {
            "type": "scatter", "mode": "markers+text", "x": [cost], "y": [result.score.value],
            "name": f"{place} {label(result, comparison)}",
            "text": str(place), "textfont": {"color": "#fff", "size": 11},
            "marker": {"size": 19, "color": colours[result.method.fusion]}, "cliponaxis": False,
            "hovertemplate": "%{x:.4s}, %{y:.4f}",
        }
        for cost, (place, result) in zip(x, known, strict=True)
    ]  # fmt: skip
    front = pareto(
        [-value for value in x] if key == "samples_per_second" else x, [comparison.metric.sign * value for value in y]
    )
    line = {
        "type": "scatter", "mode": "lines", "x": [x[i] for i in front], "y": [y[i] for i in front],
        "line": {"dash": "dot", "color": "#999"}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    layout = layout_of(title, f"{comparison.metric.name} on {comparison.split}", height=420, showlegend=True)
    layout["xaxis"] |= _axis(x)
    return {"data": [line, bars, *dots], "layout": layout}


def _axis(costs: Sequence[float]) -> Figure:
    """Return the format of the ticks, with at most three digits and a unit, and the range of nearly equal costs."""
    low, high = min(costs), max(costs)
    axis: Figure = {"tickformat": ".3~s" if high >= 1e4 else ".4~g"}
    return axis | {"range": [low / CLOSE, high * CLOSE]} if 0 < high < CLOSE * low else axis

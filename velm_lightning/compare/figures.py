"""Draws the plots of the dashboard."""

from __future__ import annotations

import math
from collections.abc import Sequence

from velm_lightning.compare.budgets import pareto
from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.panel import MOST_LINES, Panel, colours_of, dashes_of, finite, label, layout_of, safe
from velm_lightning.compare.reading import COSTS
from velm_lightning.compare.samples.detail_views import confusion, recall_curves, reliability
from velm_lightning.compare.views.curves import curves
from velm_lightning.compare.views.meeting_curve import curve_panel
from velm_lightning.compare.views.parallel import parallel
from velm_lightning.compare.views.score_tables import OR_IMAGES
from velm_lightning.compare.views.sections import sections


def panels(comparison: Comparison) -> list[Panel]:
    """Return all plots that have data."""
    colours = colours_of(comparison)
    return [
        panel._replace(title=f"{panel.title} · {title}") if title else panel
        for title, part in sections(comparison)
        for panel in _panels(part, colours)
        if panel.variants
    ]


def _panels(comparison: Comparison, colours: dict[str, str]) -> list[Panel]:
    """Return the plots of methods on one data set; a plot without variants has no data."""
    return [
        _bars(comparison, colours),
        curve_panel(comparison),
        curves(comparison, colours),
        _pareto(comparison, colours),
        _heat(comparison),
        reliability(comparison.details),
        confusion(comparison.details),
        recall_curves(comparison.details),
        parallel(comparison),
        _budgets(comparison, colours),
        _missing(comparison, colours),
    ]


def _bars(comparison: Comparison, colours: dict[str, str]) -> Panel:
    results = comparison.results[:MOST_LINES][::-1]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": [label(result, comparison) for result in results],
        "x": [result.score.value for result in results],
        "error_x": {"type": "data", "array": [finite(result.score.half) for result in results], "color": "#888"},
        "marker": {
            "color": [colours[result.method.fusion] for result in results],
            "opacity": [0.45 if result.method.control else 1.0 for result in results],
        },
        "hovertemplate": "%{y}: %{x:.4f} ± %{error_x.array:.4f}<extra></extra>",
    }
    layout = layout_of(f"{comparison.metric.name} on {comparison.split}", height=90 + 34 * len(results))
    caption = f"Means with {OR_IMAGES}. Controls are pale."
    return Panel("Scores", caption, {"score": {"data": [bar], "layout": layout}})


def _pareto(comparison: Comparison, colours: dict[str, str]) -> Panel:
    variants, thin = {}, {"thickness": 1, "color": "#888"}
    for key, title in COSTS.items():
        known = [result for result in comparison.results if not math.isnan(result.costs[key])]
        if not known:
            continue
        cheap_is_low = key != "samples_per_second"
        x, y = [result.costs[key] for result in known], [result.score.value for result in known]
        front = pareto(x if cheap_is_low else [-value for value in x], [comparison.metric.sign * value for value in y])
        dots = {
            "type": "scatter", "mode": "markers+text", "x": x, "y": y,
            "text": [label(result, comparison) if len(known) <= 12 else "" for result in known],
            "textposition": _label_positions(x),
            "hovertext": [safe(result.method.name) for result in known], "cliponaxis": False,
            "error_y": {"type": "data", "array": [finite(result.score.half) for result in known]} | thin,
            "marker": {"size": 11, "color": [colours[result.method.fusion] for result in known]}, "showlegend": False,
        }  # fmt: skip
        line = {
            "type": "scatter", "mode": "lines", "x": [x[i] for i in front], "y": [y[i] for i in front],
            "line": {"dash": "dot", "color": "#999"}, "hoverinfo": "skip", "showlegend": False,
        }  # fmt: skip
        layout = layout_of(title, f"{comparison.metric.name} on {comparison.split}", height=420)
        variants[title] = {"data": [line, dots], "layout": layout}
    caption = (
        "The dotted line joins the means for which no other mean is better at the same or a lower cost; it is not a "
        f"test. Error bars are {OR_IMAGES}."
    )
    return Panel("Score against cost", caption, variants)


def _label_positions(x: Sequence[float]) -> list[str]:
    """Return the position of each label: at either end towards the middle, so that no label is cut."""
    low, width = min(x), (max(x) - min(x)) or 1.0
    places = [(value - low) / width for value in x]
    return ["middle right" if at < 0.25 else "middle left" if at > 0.75 else "top center" for at in places]


def _heat(comparison: Comparison) -> Panel:
    names = list(dict.fromkeys(name for result in comparison.results for name in result.groups))
    best = comparison.results[:MOST_LINES][::-1]
    if not names:
        return Panel("", "", {})
    z = [[result.groups[name].value if name in result.groups else None for name in names] for result in best]
    heat = {
        "type": "heatmap", "z": z,
        "x": [safe(name) for name in names], "y": [label(result, comparison) for result in best],
        "colorscale": [[0, "#f3f6fb"], [1, "#3d6bb3"]], "reversescale": comparison.tested_sign < 0,
        "texttemplate": "%{z:.3f}" if len(names) <= 15 else "",
        "xgap": 2, "ygap": 2,
    }  # fmt: skip
    layout = layout_of(height=110 + 34 * len(best))
    return Panel(
        "Score by group of samples",
        f"Means of {comparison.tested} over seeds, on {comparison.split}, without intervals; the table of groups has "
        "them.",
        {"score": {"data": [heat], "layout": layout}},
    )


def _budgets(comparison: Comparison, colours: dict[str, str]) -> Panel:
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "x": list(range(1, len(curve) + 1)), "y": curve,
            "name": safe(fusion), "line": {"color": colours[fusion.partition(" · ")[0]]},
        }
        for fusion, curve in comparison.budgets.items()
    ]  # fmt: skip
    layout = layout_of("trials", f"expected best {comparison.metric.name} on val", height=380, showlegend=True)
    layout["xaxis"]["dtick"] = max(1, max((len(curve) for curve in comparison.budgets.values()), default=1) // 10)
    caption = "Expected best figure of k trials: compare fusions at the same k (Dodge et al. 2019). "
    caption += "The curves are expectations over the given trials, without intervals."
    return Panel("Score by budget", caption, {"val": {"data": traces, "layout": layout}} if traces else {})


def _missing(comparison: Comparison, colours: dict[str, str]) -> Panel:
    dashes, variants = dashes_of(comparison), {}
    for modality in dict.fromkeys(name for result in comparison.results for name in result.probe):
        traces = [
            {
                "type": "scatter", "mode": "lines+markers", "x": result.probe[modality].shares,
                "y": result.probe[modality].missing, "name": label(result, comparison),
                "line": {"color": colours[result.method.fusion], "dash": dashes[result.method.name]},
            }
            for result in comparison.results[:MOST_LINES]
            if modality in result.probe
        ]  # fmt: skip
        layout = layout_of(f"share of samples without {modality}", f"score on {comparison.split}", height=380)
        layout["xaxis"]["tickformat"] = ".0%"
        variants[modality] = {"data": traces, "layout": layout}
    return Panel("Missing modalities", "Means over seeds, without intervals, measured by `velm probe`.", variants)

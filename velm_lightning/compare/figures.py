"""The plots of the dashboard."""

from __future__ import annotations

import math
from collections.abc import Sequence

from velm_lightning.compare.budgets import pareto
from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.curves import curves
from velm_lightning.compare.modality_reliance import COSTS
from velm_lightning.compare.panel import MOST_LINES, Panel, colours_of, dashes_of, finite, label, layout_of, safe
from velm_lightning.compare.parallel import parallel
from velm_lightning.compare.tables import OR_IMAGES


def panels(found: Comparison) -> list[Panel]:
    """Return all plots that have data."""
    colours = colours_of(found)
    drawn = [
        _bars(found, colours),
        curves(found, colours),
        _pareto(found, colours),
        _heat(found),
        parallel(found),
        _budgets(found, colours),
        _missing(found, colours),
    ]
    return [panel for panel in drawn if panel.variants]


def _bars(found: Comparison, colours: dict[str, str]) -> Panel:
    shown_results = found.results[:MOST_LINES][::-1]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": [label(one, found) for one in shown_results],
        "x": [one.score.value for one in shown_results],
        "error_x": {"type": "data", "array": [finite(one.score.half) for one in shown_results], "color": "#444"},
        "marker": {
            "color": [colours[one.method.fusion] for one in shown_results],
            "opacity": [0.45 if one.method.control else 1.0 for one in shown_results],
        },
        "hovertemplate": "%{y}: %{x:.4f} ± %{error_x.array:.4f}<extra></extra>",
    }
    layout = layout_of(f"{found.metric.name} on {found.split}", height=90 + 34 * len(shown_results))
    caption = f"Means with {OR_IMAGES}. Controls are pale."
    return Panel("Scores", caption, {"score": {"data": [bar], "layout": layout}})


def _pareto(found: Comparison, colours: dict[str, str]) -> Panel:
    variants = {}
    for key, title in COSTS.items():
        known = [one for one in found.results if not math.isnan(one.costs[key])]
        if not known:
            continue
        cheap_is_low = key != "samples_per_second"
        x, y = [one.costs[key] for one in known], [one.score.value for one in known]
        front = pareto(x if cheap_is_low else [-value for value in x], [found.metric.sign * value for value in y])
        dots = {
            "type": "scatter", "mode": "markers+text", "x": x, "y": y,
            "text": [label(one, found) if len(known) <= 12 else "" for one in known], "textposition": _beside(x),
            "hovertext": [safe(one.method.name) for one in known], "cliponaxis": False,
            "error_y": {"type": "data", "array": [finite(one.score.half) for one in known], "thickness": 1},
            "marker": {"size": 11, "color": [colours[one.method.fusion] for one in known]}, "showlegend": False,
        }  # fmt: skip
        line = {
            "type": "scatter", "mode": "lines", "x": [x[i] for i in front], "y": [y[i] for i in front],
            "line": {"dash": "dot", "color": "#999"}, "hoverinfo": "skip", "showlegend": False,
        }  # fmt: skip
        layout = layout_of(title, f"{found.metric.name} on {found.split}", height=420)
        variants[title] = {"data": [line, dots], "layout": layout}
    caption = (
        "The dotted line joins the means for which no other mean is better at the same or a lower cost; it is not a "
        f"test. Error bars are {OR_IMAGES}."
    )
    return Panel("Score against cost", caption, variants)


def _beside(x: Sequence[float]) -> list[str]:
    """Return the position of each label: to the inside at either end, so that no label is cut."""
    low, width = min(x), (max(x) - min(x)) or 1.0
    places = [(value - low) / width for value in x]
    return ["middle right" if at < 0.25 else "middle left" if at > 0.75 else "top center" for at in places]


def _heat(found: Comparison) -> Panel:
    names = list(dict.fromkeys(name for one in found.results for name in one.groups))
    best = found.results[:MOST_LINES][::-1]
    if not names:
        return Panel("", "", {})
    z = [[one.groups[name].value if name in one.groups else None for name in names] for one in best]
    heat = {
        "type": "heatmap", "z": z, "x": [safe(name) for name in names], "y": [label(one, found) for one in best],
        "colorscale": [[0, "#f3f6fb"], [1, "#3d6bb3"]], "reversescale": found.tested_sign < 0,
        "texttemplate": "%{z:.3f}" if len(names) <= 15 else "",
        "xgap": 2, "ygap": 2,
    }  # fmt: skip
    layout = layout_of(height=110 + 34 * len(best))
    return Panel(
        "Score by group of samples",
        f"Means of {found.tested} over seeds, on {found.split}, without intervals: the table of groups has them.",
        {"score": {"data": [heat], "layout": layout}},
    )


def _budgets(found: Comparison, colours: dict[str, str]) -> Panel:
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "x": list(range(1, len(curve) + 1)), "y": curve,
            "name": safe(fusion), "line": {"color": colours[fusion.partition(" · ")[0]]},
        }
        for fusion, curve in found.budgets.items()
    ]  # fmt: skip
    layout = layout_of("trials", f"expected best {found.metric.name} on val", height=380, showlegend=True)
    layout["xaxis"]["dtick"] = max(1, max((len(curve) for curve in found.budgets.values()), default=1) // 10)
    caption = "Expected best figure of k trials: compare fusions at the same k (Dodge et al. 2019). "
    caption += "The curves are expectations over the given trials, without intervals."
    return Panel("Score by budget", caption, {"val": {"data": traces, "layout": layout}} if traces else {})


def _missing(found: Comparison, colours: dict[str, str]) -> Panel:
    dashes, variants = dashes_of(found), {}
    for modality in dict.fromkeys(name for one in found.results for name in one.probe):
        traces = [
            {
                "type": "scatter", "mode": "lines+markers", "x": one.probe[modality].shares,
                "y": one.probe[modality].missing, "name": label(one, found),
                "line": {"color": colours[one.method.fusion], "dash": dashes[one.method.name]},
            }
            for one in found.results[:MOST_LINES]
            if modality in one.probe
        ]  # fmt: skip
        layout = layout_of(f"share of samples without {modality}", f"score on {found.split}", height=380)
        layout["xaxis"]["tickformat"] = ".0%"
        variants[modality] = {"data": traces, "layout": layout}
    return Panel("Missing modalities", "Means over seeds, without intervals, measured by `velm probe`.", variants)

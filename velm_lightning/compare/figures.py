"""Draws the plots of the dashboard."""

from __future__ import annotations

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.panel import (
    MOST_LINES,
    Figure,
    Panel,
    colours_of,
    finite,
    label,
    layout_of,
    lines_of,
    safe,
    wide_enough,
)
from velm_lightning.compare.samples.detail_views import detail_panels
from velm_lightning.compare.views.cost_plot import cost_plot
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
    lines = lines_of(comparison, colours)
    return [
        _bars(comparison, colours),
        curve_panel(comparison),
        curves(comparison, colours),
        cost_plot(comparison, colours),
        _heat(comparison),
        *(panel for of_data in comparison.details.values() for panel in detail_panels(of_data, lines)),
        parallel(comparison),
        _budgets(comparison, colours),
        _missing(comparison, lines),
    ]


def _bars(comparison: Comparison, colours: dict[str, str]) -> Panel:
    results = comparison.results[:MOST_LINES][::-1]
    labels = [label(result, comparison) for result in results]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": labels,
        "x": [result.score.value for result in results],
        "error_x": {"type": "data", "array": [finite(result.score.half) for result in results], "color": "#888"},
        "marker": {
            "color": [colours[result.method.fusion] for result in results],
            "opacity": [0.45 if result.method.control else 1.0 for result in results],
        },
        "hovertemplate": "%{y}: %{x:.4f} ± %{error_x.array:.4f}<extra></extra>",
    }
    layout = layout_of(
        f"{comparison.metric.name} on {comparison.split}", height=90 + 34 * len(results), **wide_enough(labels)
    )
    caption = f"Means with {OR_IMAGES}. Controls are pale."
    return Panel("Scores", caption, {"score": {"data": [bar], "layout": layout}})


def _heat(comparison: Comparison) -> Panel:
    names = list(dict.fromkeys(name for result in comparison.results for name in result.groups))
    best = comparison.results[:MOST_LINES][::-1]
    if not names:
        return Panel("", "", {})
    labels = [label(result, comparison) for result in best]
    numbered = len(names) <= 15
    z = [[result.groups[name].value if name in result.groups else None for name in names] for result in best]
    heat = {
        "type": "heatmap", "z": z,
        "x": [safe(name) for name in names], "y": labels,
        "colorscale": [[0, "#f3f6fb"], [1, "#8fb0e6"]], "reversescale": comparison.tested_sign < 0,
        "texttemplate": "%{z:.3f}" if numbered else "", "textfont": {"color": "#1d2430"}, "showscale": not numbered,
        "xgap": 2, "ygap": 2,
    }  # fmt: skip
    layout = layout_of(height=110 + 34 * len(best), **wide_enough(labels, 50 * len(names)))
    return Panel(
        "Groups",
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


def _missing(comparison: Comparison, lines: dict[str, Figure]) -> Panel:
    variants = {}
    for modality in dict.fromkeys(name for result in comparison.results for name in result.probe):
        traces = [
            {
                "type": "scatter", "mode": "lines+markers", "x": result.probe[modality].shares,
                "y": result.probe[modality].missing, "name": label(result, comparison),
                "line": lines[result.method.name],
            }
            for result in comparison.results[:MOST_LINES]
            if modality in result.probe
        ]  # fmt: skip
        layout = layout_of(f"share of samples without {modality}", f"score on {comparison.split}", height=380)
        layout["xaxis"]["tickformat"] = ".0%"
        variants[modality] = {"data": traces, "layout": layout}
    return Panel("Missing modalities", "Means over seeds, without intervals, measured by `velm probe`.", variants)

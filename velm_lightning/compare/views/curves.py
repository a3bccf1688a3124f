"""Plots training curves: the mean over seeds by step."""

from __future__ import annotations

import numpy as np

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.panel import MOST_LINES, Figure, Panel, dashes_of, label, layout_of
from velm_lightning.compare.reading import RunFolder
from velm_lightning.compare.result import Result

MOST_POINTS = 300


def curves(comparison: Comparison, colours: dict[str, str]) -> Panel:
    """Return curves of all logged figures by step, one line per method."""
    logged = dict.fromkeys(name for run in comparison.runs for name in run.curves if "/group/" not in name)
    names = [name for name in logged if name.startswith(("val/", "train/"))]
    names.sort(key=lambda name: (name != f"val/{comparison.metric.name}", not name.startswith("val/"), name))
    dashes, legend = dashes_of(comparison), {"orientation": "h", "y": -0.16, "yanchor": "top"}
    variants = {}
    for name in names:
        traces = [
            trace
            for result in comparison.results[:MOST_LINES]
            for trace in _band(
                result, name, label(result, comparison), colours[result.method.fusion], dashes[result.method.name]
            )
        ]
        if traces:
            layout = layout_of("step", name, height=420, legend=legend)
            variants[name] = {"data": traces, "layout": layout}
    return Panel("Curves", "Mean over seeds; the band spans the smallest and the largest seed.", variants)


def _band(result: Result, name: str, title: str, colour: str, dash: str) -> list[Figure]:
    lines = [_in_training(run, name) for run in result.method.runs]
    common = set.intersection(*(set(curve) for curve in lines))
    if not common:
        return []
    steps = sorted(common)
    steps = steps[:: -(-len(steps) // MOST_POINTS)]
    values = np.array([[curve[step] for step in steps] for curve in lines])
    shared = {
        "type": "scatter",
        "mode": "lines" if len(steps) > 30 else "lines+markers",
        "legendgroup": result.method.name,
    }
    drawn = {"name": title, "line": {"color": colour, "dash": dash}}
    line = shared | drawn | {"x": steps, "y": values.mean(0).tolist()}
    if len(lines) < 2:
        return [line]
    edges = {"y": [*values.max(0).tolist(), *values.min(0).tolist()[::-1]], "x": [*steps, *steps[::-1]]}
    fill = {
        "mode": "lines",
        "fill": "toself",
        "fillcolor": _faint(colour),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [shared | edges | fill, line]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _in_training(run: RunFolder, name: str) -> dict[float, float]:
    """Return a curve by step without the final evaluation of the best checkpoint."""
    steps, values = run.curves.get(name, ([], []))
    end = run.cost("steps")
    return {step: value for step, value in zip(steps, values, strict=True) if not step >= end}

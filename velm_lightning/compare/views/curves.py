"""Plots training curves: the mean over seeds by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.panel import MOST_LINES, Figure, Panel, label, layout_of, lines_of
from velm_lightning.compare.reading import RunFiles

MOST_POINTS = 300


class Line(NamedTuple):
    """The runs of a method in the plot of a figure by step.

    Attributes:
        label: its text in the legend.
        colour: its colour.
        dash: its line style.
        runs: one run per seed.
    """

    label: str
    colour: str
    dash: str
    runs: Sequence[RunFiles]


def curves(comparison: Comparison, colours: dict[str, str]) -> Panel:
    """Return curves of all logged figures by step, one line per method."""
    names = logged(comparison.runs)
    names.sort(key=lambda name: name != f"val/{comparison.metric.name}")
    styles = lines_of(comparison, colours)
    lines = [
        Line(
            label=label(result, comparison),
            colour=styles[result.method.name]["color"],
            dash=styles[result.method.name]["dash"],
            runs=result.method.runs,
        )
        for result in comparison.results[:MOST_LINES]
    ]
    variants = {name: figure for name in names if (figure := curve(lines, name))}
    return Panel("Curves", "Mean over seeds; the band spans the smallest and the largest seed.", variants)


def logged(runs: Sequence[RunFiles]) -> list[str]:
    """Return the names of the figures that runs have logged, those of validation first."""
    names = dict.fromkeys(name for run in runs for name in run.curves if "/group/" not in name)
    return sorted(
        (name for name in names if name.startswith(("val/", "train/"))), key=lambda name: (name[0] != "v", name)
    )


def curve(lines: Sequence[Line], name: str, partial: bool = False) -> Figure:
    """Return the plot of a figure by step; empty if no run has logged it.

    Args:
        lines: the methods.
        name: the name of the figure.
        partial: whether steps count that not all seeds of a method have reached, because they still train.
    """
    traces = [trace for line in lines for trace in _band(line, name, partial)]
    return {"data": traces, "layout": layout_of("step", name, height=420)} if traces else {}


def _band(line: Line, name: str, partial: bool) -> list[Figure]:
    seeds = [_in_training(run, name) for run in line.runs]
    seeds = [curve for curve in seeds if curve] if partial else seeds
    steps = sorted((set.union if partial else set.intersection)(*map(set, seeds))) if seeds else []
    if not steps:
        return []
    steps = steps[:: -(-len(steps) // MOST_POINTS)]
    values = np.array([[curve.get(step, np.nan) for step in steps] for curve in seeds])
    shared = {
        "type": "scatter",
        "mode": "lines" if len(steps) > 30 else "lines+markers",
        "legendgroup": line.label,
    }
    drawn = {"name": line.label, "line": {"color": line.colour, "dash": line.dash}}
    middle = shared | drawn | {"x": steps, "y": _over_seeds(np.mean, values)}
    if len(seeds) < 2:
        return [middle]
    low, high = _over_seeds(np.min, values), _over_seeds(np.max, values)
    edges = {"y": [*high, *low[::-1]], "x": [*steps, *steps[::-1]]}
    fill = {
        "mode": "lines",
        "fill": "toself",
        "fillcolor": _faint(line.colour),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [shared | edges | fill, middle]


def _over_seeds(combine: Callable[..., Any], values: NDArray[np.float64]) -> list[float]:
    """Combine the columns of (S, N) values over the seeds that have one; NaN if none has."""
    columns = [column[~np.isnan(column)] for column in values.T]
    return [float(combine(column)) if len(column) else float("nan") for column in columns]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _in_training(run: RunFiles, name: str) -> dict[float, float]:
    """Return a curve by step without the final evaluation of the best checkpoint."""
    steps, values = run.curves.get(name, ([], []))
    end = run.cost("steps") if run.record.get("status") == "finished" else float("nan")
    return {step: value for step, value in zip(steps, values, strict=True) if not step >= end}

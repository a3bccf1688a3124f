"""The pictures of the dashboard, as plotly draws them from plain data."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from velm_lightning.compare.comparison import Comparison, Result, settings_of
from velm_lightning.compare.grouping import shown
from velm_lightning.compare.reading import RunFolder
from velm_lightning.compare.statistics import pareto
from velm_lightning.compare.tables import short
from velm_lightning.compare.worth import COSTS

COLOURS = ("#3366cc", "#dc6900", "#2a9d5c", "#b5338a", "#7a5cc7", "#8a6d3b", "#17a2b8", "#c0392b", "#6b7280", "#4d7c0f")
MOST_LINES, MOST_POINTS, MOST_LETTERS = 30, 300, 44
Figure = dict[str, Any]


class Panel(NamedTuple):
    """One picture, in variants that the reader chooses from.

    Attributes:
        title: what it shows.
        caption: how to read it.
        variants: the figures by the name of the variant.
    """

    title: str
    caption: str
    variants: dict[str, Figure]


def panels(found: Comparison) -> list[Panel]:
    """Return every picture that there are numbers for."""
    colours = colours_of(found)
    drawn = [
        _bars(found, colours),
        _curves(found, colours),
        _pareto(found, colours),
        _heat(found),
        _parallel(found),
        _budgets(found, colours),
        _missing(found, colours),
    ]
    return [panel for panel in drawn if panel.variants]


def colours_of(found: Comparison) -> dict[str, str]:
    """Give every fusion a colour."""
    fusions = sorted({one.method.fusion for one in found.results})
    return {fusion: COLOURS[place % len(COLOURS)] for place, fusion in enumerate(fusions)}


def _safe(text: str) -> str:
    """Return text for plotly, which takes some tags for formatting."""
    return html.escape(text, quote=False)


def _label(one: Result, found: Comparison) -> str:
    """Return a method's name as the pictures show it: cut where it is long, with its place in the table of scores."""
    name = one.method.name
    if len(name) > MOST_LETTERS:
        place = [other.method.name for other in found.results].index(name) + 1
        name = f"{name[: MOST_LETTERS - 6].rstrip(' ·')} … ({place})"
    return _safe(name)


def _layout(x: str = "", y: str = "", **more: Any) -> Figure:
    axes: Figure = {
        "xaxis": {"title": {"text": x}, "automargin": True},
        "yaxis": {"title": {"text": y}, "automargin": True, "ticklabelstandoff": 6},
    }
    return axes | {"margin": {"l": 60, "r": 20, "t": 20, "b": 50}, "hovermode": "closest", **more}


def _bars(found: Comparison, colours: dict[str, str]) -> Panel:
    shown_results = found.results[:MOST_LINES][::-1]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": [_label(one, found) for one in shown_results],
        "x": [one.score.value for one in shown_results],
        "error_x": {"type": "data", "array": [_finite(one.score.half) for one in shown_results], "color": "#444"},
        "marker": {
            "color": [colours[one.method.fusion] for one in shown_results],
            "opacity": [0.45 if one.method.control else 1.0 for one in shown_results],
        },
        "hovertemplate": "%{y}: %{x:.4f} ± %{error_x.array:.4f}<extra></extra>",
    }
    layout = _layout(f"score on {found.split}", height=90 + 34 * len(shown_results))
    caption = "Means with 95 % intervals: over seeds, or over images where there is one seed. Controls are pale."
    return Panel("Scores", caption, {"score": {"data": [bar], "layout": layout}})


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _curves(found: Comparison, colours: dict[str, str]) -> Panel:
    names = dict.fromkeys(name for run in found.runs for name in run.curves if "/group/" not in name)
    wanted = [name for name in names if name.startswith(("val/", "train/"))]
    wanted.sort(key=lambda name: (name != "val/score", not name.startswith("val/"), name))
    dashes, legend = _dashes(found), {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    variants = {}
    for name in wanted:
        traces = [
            trace
            for one in found.results[:MOST_LINES]
            for trace in _band(one, name, _label(one, found), colours[one.method.fusion], dashes[one.method.name])
        ]
        if traces:
            layout = _layout("step", name, height=420, legend=legend)
            variants[name] = {"data": traces, "layout": layout}
    return Panel("Curves", "Mean over seeds; the band spans the smallest and the largest seed.", variants)


def _dashes(found: Comparison) -> dict[str, str]:
    """Tell methods of one fusion apart by their lines."""
    styles, seen = ("solid", "dash", "dot", "dashdot", "longdash"), dict[str, int]()
    dashes = {}
    for one in found.results:
        place = seen[one.method.fusion] = seen.get(one.method.fusion, -1) + 1
        dashes[one.method.name] = styles[place % len(styles)]
    return dashes


def _band(one: Result, name: str, label: str, colour: str, dash: str) -> list[Figure]:
    curves = [_in_training(run, name) for run in one.method.runs]
    common = set.intersection(*(set(curve) for curve in curves))
    if not common:
        return []
    steps = sorted(common)
    steps = steps[:: -(-len(steps) // MOST_POINTS)]
    values = np.array([[curve[step] for step in steps] for curve in curves])
    shared = {
        "type": "scatter",
        "mode": "lines" if len(steps) > 30 else "lines+markers",
        "legendgroup": one.method.name,
    }
    drawn = {"name": label, "line": {"color": colour, "dash": dash}}
    line = shared | drawn | {"x": steps, "y": values.mean(0).tolist()}
    if len(curves) < 2:
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
    """Return a curve by step, without the final evaluation of the best checkpoint."""
    steps, values = run.curves.get(name, ([], []))
    end = run.cost("steps")
    return {step: value for step, value in zip(steps, values, strict=True) if not step >= end}


def _pareto(found: Comparison, colours: dict[str, str]) -> Panel:
    variants = {}
    for key, title in COSTS.items():
        known = [one for one in found.results if not math.isnan(one.costs[key])]
        if not known:
            continue
        cheap_is_low = key != "samples_per_second"
        x, y = [one.costs[key] for one in known], [one.score.value for one in known]
        front = pareto(x if cheap_is_low else [-value for value in x], y)
        dots = {
            "type": "scatter", "mode": "markers+text", "x": x, "y": y,
            "text": [_label(one, found) if len(known) <= 12 else "" for one in known], "textposition": _beside(x),
            "hovertext": [_safe(one.method.name) for one in known], "cliponaxis": False,
            "error_y": {"type": "data", "array": [_finite(one.score.half) for one in known], "thickness": 1},
            "marker": {"size": 11, "color": [colours[one.method.fusion] for one in known]}, "showlegend": False,
        }  # fmt: skip
        line = {
            "type": "scatter", "mode": "lines", "x": [x[i] for i in front], "y": [y[i] for i in front],
            "line": {"dash": "dot", "color": "#999"}, "hoverinfo": "skip", "showlegend": False,
        }  # fmt: skip
        layout = _layout(title, f"score on {found.split}", height=420)
        variants[title] = {"data": [line, dots], "layout": layout}
    return Panel(
        "Score against cost", "The dotted line joins what no other method beats at its cost or less.", variants
    )


def _beside(x: Sequence[float]) -> list[str]:
    """Return where the name of each dot stands: inwards of the first and of the last, so that none is cut."""
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
        "type": "heatmap", "z": z, "x": [_safe(name) for name in names], "y": [_label(one, found) for one in best],
        "colorscale": [[0, "#f3f6fb"], [1, "#3d6bb3"]], "texttemplate": "%{z:.3f}" if len(names) <= 15 else "",
        "xgap": 2, "ygap": 2,
    }  # fmt: skip
    layout = _layout(height=110 + 34 * len(best))
    return Panel(
        "Score by group of samples",
        f"Mean over seeds, on {found.split}.",
        {"score": {"data": [heat], "layout": layout}},
    )


def _parallel(found: Comparison) -> Panel:
    """Draw parallel coordinates as plain lines: plotly's own need WebGL, which not every browser has."""
    settings = {name: values for name, values in settings_of(found.results).items() if len(set(map(str, values))) > 1}
    if not settings or len(found.results) < 3:
        return Panel("", "", {})
    scores = [one.score.value for one in found.results]
    axes = [_axis(name, values) for name, values in settings.items()]
    axes += [_axis(COSTS["parameters"], [one.costs["parameters"] for one in found.results])]
    axes += [_axis(f"score on {found.split}", scores)]
    lines = [
        {
            "type": "scatter", "mode": "lines", "showlegend": False, "name": "",
            "x": list(range(len(axes))), "y": [axis.places[row] for axis in axes], "text": _safe(one.method.name),
            "hovertemplate": f"%{{text}}: {one.score.value:.4f}", "line": {"color": _shade(axes[-1].places[row])},
        }
        for row, one in reversed(list(enumerate(found.results[:200])))
    ]  # fmt: skip
    beside = {"showarrow": False, "xanchor": "left", "xshift": 4, "bgcolor": "rgba(255,255,255,0.7)"}
    ticks = [beside | {"x": place, "y": y, "text": text} for place, axis in enumerate(axes) for y, text in axis.ticks]
    layout = _layout(height=440, annotations=ticks)
    layout["xaxis"] |= {
        "tickvals": list(range(len(axes))), "ticktext": [axis.name for axis in axes], "side": "top", "showgrid": True,
        "gridcolor": "#888", "range": [-0.1, len(axes) - 0.6],
    }  # fmt: skip
    layout["yaxis"] |= {"visible": False}
    caption = "One line a method, the darker the better; it crosses each axis at its setting."
    return Panel("Settings", caption, {"settings": {"data": lines, "layout": layout}})


class _Axis(NamedTuple):
    """One of the parallel axes: where each method crosses it, 0…1, and its ticks."""

    name: str
    places: list[float]
    ticks: list[tuple[float, str]]


def _axis(name: str, values: Sequence[Any]) -> _Axis:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values) or not all(map(math.isfinite, numbers)):
        kinds = sorted({shown(value) for value in values})
        step = 1 / max(1, len(kinds) - 1)
        places = [kinds.index(shown(value)) * step for value in values]
        return _Axis(_safe(name), places, [(place * step, _safe(kind)[:24]) for place, kind in enumerate(kinds)])
    low, high = min(numbers), max(numbers)
    logarithmic = low > 0 and high / low >= 50
    scaled = [math.log(value) if logarithmic else float(value) for value in numbers]
    start, width = min(scaled), (max(scaled) - min(scaled)) or 1.0
    marks = _apart(sorted(set(zip(scaled, numbers, strict=True))), width)
    ticks = [((place - start) / width, short(mark)) for place, mark in marks]
    return _Axis(_safe(name), [(value - start) / width for value in scaled], ticks)


def _apart(marks: Sequence[tuple[float, float]], width: float) -> list[tuple[float, float]]:
    """Return the marks, lowest first, that can be read beside those kept already; the highest is always kept."""
    kept = [marks[-1]]
    for mark in marks[:-1]:
        if all(abs(mark[0] - other[0]) >= 0.06 * width for other in kept):
            kept.append(mark)
    return sorted(kept)


def _shade(place: float) -> str:
    """Return a colour from pale to dark blue for 0…1."""
    red, green, blue = (round(pale + place * (dark - pale)) for pale, dark in ((200, 20), (216, 60), (240, 140)))
    return f"rgb({red},{green},{blue})"


def _budgets(found: Comparison, colours: dict[str, str]) -> Panel:
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "x": list(range(1, len(curve) + 1)), "y": curve,
            "name": _safe(fusion), "line": {"color": colours[fusion]},
        }
        for fusion, curve in found.budgets.items()
    ]  # fmt: skip
    layout = _layout("trials", "expected best score on val", height=380, showlegend=True)
    layout["xaxis"]["dtick"] = max(1, max((len(curve) for curve in found.budgets.values()), default=1) // 10)
    caption = "What the best of k trials is expected to reach: compare fusions at the same k (Dodge et al. 2019)."
    return Panel("Score by budget", caption, {"val": {"data": traces, "layout": layout}} if traces else {})


def _missing(found: Comparison, colours: dict[str, str]) -> Panel:
    dashes, variants = _dashes(found), {}
    for modality in dict.fromkeys(name for one in found.results for name in one.probe):
        traces = [
            {
                "type": "scatter", "mode": "lines+markers", "x": one.probe[modality].shares,
                "y": one.probe[modality].missing, "name": _label(one, found),
                "line": {"color": colours[one.method.fusion], "dash": dashes[one.method.name]},
            }
            for one in found.results[:MOST_LINES]
            if modality in one.probe
        ]  # fmt: skip
        layout = _layout(f"share of samples without {modality}", f"score on {found.split}", height=380)
        layout["xaxis"]["tickformat"] = ".0%"
        variants[modality] = {"data": traces, "layout": layout}
    return Panel("Missing modalities", "Mean over seeds, as `velm probe` measured it.", variants)

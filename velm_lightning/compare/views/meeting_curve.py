"""Draws the curve of score against meeting depth, as a plot of the dashboard and as a picture for a paper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.meeting_depth import AFTER, CAPTION, Part, curve_of
from velm_lightning.compare.panel import COLOURS, Figure, Panel, finite, safe
from velm_lightning.compare.statistics import Interval
from velm_lightning.errors import InputError

_COLUMNS, _HEIGHT, _GAP = 3, 290, 0.06
_TICKS = {0.0: "before", 0.25: "¼", 0.5: "½", 0.75: "¾", 1.0: "on top", AFTER: "after"}
_RANGE = [-0.08, AFTER + 0.1]


def curve_panel(comparison: Comparison) -> Panel:
    """Return the curve as one plot of the dashboard, with one part per group of samples."""
    parts = curve_of(comparison)
    if not parts:
        return Panel("", "", {})
    columns = _columns(parts)
    rows = -(-len(parts) // columns)
    layout: Figure = {"height": 110 + _HEIGHT * rows, "margin": {"l": 50, "r": 20, "t": 40, "b": 70}, "annotations": []}
    layout["meta"] = {"least": 220 * min(columns, len(parts))}
    layout["legend"] = {"orientation": "h", "y": -0.14 / rows, "yanchor": "top"}
    traces: list[Figure] = []
    named: set[str] = set()  # the names in the legend
    for place, part in enumerate(parts):
        number = str(place + 1) if place else ""
        layout |= _axes(place, columns, rows, number)
        corner = {"xref": f"x{number} domain", "yref": f"y{number} domain", "x": 0, "y": 1.12, "showarrow": False}
        layout["annotations"].append(corner | {"text": f"{safe(part.title)}: {safe(part.figure)}"})
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        traces += [trace | axes for trace in _traces(part, _colours(parts), named)]
    return Panel("Score by meeting depth", CAPTION, {comparison.split: {"data": traces, "layout": layout}})


def _columns(parts: Sequence[Part]) -> int:
    """Return the number of parts side by side: one per kind of tuning if there are several."""
    tunings = len({part.tuning for part in parts})
    return tunings if 1 < tunings <= _COLUMNS else _COLUMNS


def _axes(place: int, columns: int, rows: int, number: str) -> Figure:
    """Return the axes of a part at its place in the grid of parts, the first at the top left."""
    row, column = divmod(place, columns)
    width, height = (1 - (columns - 1) * _GAP) / columns, (1 - (rows - 1) * 2 * _GAP) / rows
    left, top = column * (width + _GAP), 1 - row * (height + 2 * _GAP)
    ticks = {"tickvals": list(_TICKS), "ticktext": list(_TICKS.values()), "zeroline": False}
    return {
        f"xaxis{number}": {"domain": [left, min(1, left + width)], "anchor": f"y{number}", "range": _RANGE, **ticks},
        f"yaxis{number}": {"domain": [max(0, top - height), top], "anchor": f"x{number}", "automargin": True},
    }


def _colours(parts: Sequence[Part]) -> dict[str, str]:
    """Return a colour for each kind, the same in all parts."""
    kinds = dict.fromkeys(line.kind for part in parts for line in part.lines)
    return {kind: COLOURS[place % len(COLOURS)] for place, kind in enumerate(kinds)}


def _traces(part: Part, colours: dict[str, str], named: set[str]) -> Iterator[Figure]:
    """Yield the lines of a part; a name is in the legend once, and those in ``named`` are there already."""
    for line in part.lines:
        colour, values = colours[line.kind], [score.value for score in line.scores]
        shared = {"type": "scatter", "legendgroup": line.kind, "x": line.depths}
        bars = {"type": "data", "array": [finite(score.half) for score in line.scores], "thickness": 1}
        if len(line.depths) > 1 and _known(line.scores):
            edges = [*(score.high for score in line.scores), *(score.low for score in line.scores[::-1])]
            outline = {"x": [*line.depths, *line.depths[::-1]], "y": edges, "fill": "toself", "mode": "lines"}
            quiet = {"line": {"width": 0, "color": colour}, "opacity": 0.2, "hoverinfo": "skip", "showlegend": False}
            yield shared | outline | quiet
        is_first = line.kind not in named
        named.add(line.kind)
        drawn = {"mode": "lines+markers", "name": safe(line.kind), "line": {"color": colour}, "showlegend": is_first}
        yield shared | drawn | {"y": values, "error_y": bars}
    for place, (name, score) in enumerate(part.floors):
        dots = {"color": "#666", "dash": ("dot", "dashdot", "dash")[place % 3]}
        is_first = name not in named
        named.add(name)
        ends = {"x": _RANGE, "y": [score.value, score.value], "legendgroup": name}
        yield ends | {
            "type": "scatter", "mode": "lines", "name": safe(name), "line": dots, "showlegend": is_first
        }  # fmt: skip


def _known(scores: Sequence[Interval]) -> bool:
    return all(math.isfinite(score.half) for score in scores)


def draw_curve(comparison: Comparison, path: Path) -> None:
    """Write the curve as a picture for a paper, with one part per group of samples.

    Args:
        comparison: the comparison.
        path: a ``.png``, ``.pdf`` or ``.svg`` file.

    Raises:
        InputError: no kind of fusion was run at two depths, or the file cannot be written.
    """
    parts = curve_of(comparison)
    if not parts:
        raise InputError(
            "--curve needs runs of one kind of fusion at two depths or more, e.g. EarlyFusion with several values of "
            "`join`: see sweeps/meeting_depth.yaml"
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    columns = min(_columns(parts), len(parts))
    rows = -(-len(parts) // columns)
    picture = Picture(figsize=(3.6 * columns, 0.6 + 2.7 * rows), layout="constrained")
    FigureCanvasAgg(picture)
    for place, part in enumerate(parts, 1):
        _draw_part(picture.add_subplot(rows, columns, place), part, _colours(parts))
    picture.supxlabel("where image and text meet", fontsize=8)
    drawn = [axes.get_legend_handles_labels() for axes in picture.axes]
    handles = {name: handle for of_axes in drawn for handle, name in zip(*of_axes, strict=True)}
    picture.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=3, fontsize=8, frameon=False
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.savefig(path, dpi=200)
    except (OSError, ValueError) as error:  # a ValueError for an unknown format
        raise InputError(f"--curve {path}: cannot be written ({error}): name a .png, .pdf or .svg file") from error


def _plain(text: str) -> str:
    """Return a label that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def _draw_part(axes: Any, part: Part, colours: dict[str, str]) -> None:
    for line in part.lines:
        colour, values = colours[line.kind], [score.value for score in line.scores]
        bars = [finite(score.half) for score in line.scores]
        axes.errorbar(line.depths, values, yerr=bars, color=colour, marker="o", ms=3.5, lw=1.3, label=_plain(line.kind))
        if len(values) > 1 and _known(line.scores):
            low, high = [score.low for score in line.scores], [score.high for score in line.scores]
            axes.fill_between(line.depths, low, high, color=colour, alpha=0.15, lw=0)
    for place, (name, score) in enumerate(part.floors):
        axes.axhline(score.value, color="#666", ls=(":", "-.", "--")[place % 3], lw=1, label=_plain(name))
    axes.set_title(f"{part.title}: {part.figure}", fontsize=9, parse_math=False)
    axes.set_xticks(list(_TICKS), list(_TICKS.values()), fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlim(*_RANGE)

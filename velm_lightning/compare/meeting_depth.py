"""Draws the score of fusions against the depth at which image and text meet, per group of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.panel import COLOURS, Figure, Panel, finite, safe
from velm_lightning.compare.result import Result
from velm_lightning.compare.statistics import Interval
from velm_lightning.errors import InputError

ALL = "all samples"
_COLUMNS, _MOST_PARTS, _HEIGHT, _GAP = 3, 12, 290, 0.06
_AFTER = 1.2  # a fusion after the trunk; see ``fusion.meeting``
_TICKS = {0.0: "before", 0.25: "¼", 0.5: "½", 0.75: "¾", 1.0: "on top", _AFTER: "after"}
_RANGE = [-0.08, _AFTER + 0.1]
CAPTION = (
    "The depth is the share of the text trunk's layers below the place where image and text meet. Bands and bars are "
    "95 % intervals over seeds (Student's t, images held fixed); with one seed, over images if known. Dotted lines are "
    "the controls. Of several methods at one place, the best on validation data is shown."
)


class Line(NamedTuple):
    """The methods of one kind by depth."""

    kind: str
    depths: list[float]
    scores: list[Interval]


class Part(NamedTuple):
    """The curve of one group of samples.

    Attributes:
        group: its name.
        figure: the figure that is drawn.
        lines: the fusions, one line per kind.
        floors: the controls.
    """

    group: str
    figure: str
    lines: list[Line]
    floors: list[tuple[str, Interval]]


def curve_of(comparison: Comparison) -> list[Part]:
    """Return the curve for all samples and for each group; empty if no kind was run at two depths."""
    kinds = _kinds(comparison)
    if all(len(places) < 2 for places in kinds.values()):
        return []
    controls = [result for result in comparison.results if result.method.control]
    groups = dict.fromkeys(name for result in comparison.results for name in result.groups)
    parts = []
    for group in [ALL, *list(groups)[: _MOST_PARTS - 1]]:
        lines = []
        for kind, places in kinds.items():
            known = [(depth, _score(result, group)) for depth, result in sorted(places.items())]
            drawn = [(depth, score) for depth, score in known if score is not None]
            if drawn:
                lines.append(Line(kind, [depth for depth, _ in drawn], [score for _, score in drawn]))
        floors = [(result.method.name, _score(result, group)) for result in controls]
        figure = comparison.metric.name if group == ALL else comparison.tested
        parts.append(Part(group, figure, lines, [(name, score) for name, score in floors if score is not None]))
    return parts


def _kinds(comparison: Comparison) -> dict[str, dict[float, Result]]:
    """Return the methods by kind and depth, for each the best one on validation data."""
    kinds: dict[str, dict[float, Result]] = {}
    for result in comparison.results:
        meeting: Any = result.method.runs[0].record.get("meeting")
        depth = meeting.get("depth") if isinstance(meeting, dict) else None
        if result.method.control or not isinstance(depth, int | float) or not math.isfinite(depth):
            continue
        places = kinds.setdefault(str(meeting.get("kind")), {})
        other = places.get(depth)
        if other is None or comparison.metric.sign * (result.validation - other.validation) > 0:
            places[depth] = result
    return dict(sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])))


def _score(result: Result, group: str) -> Interval | None:
    return result.score if group == ALL else result.groups.get(group)


def curve_panel(comparison: Comparison) -> Panel:
    """Return the curve as one plot of the dashboard, with one part per group of samples."""
    parts = curve_of(comparison)
    if not parts:
        return Panel("", "", {})
    rows = -(-len(parts) // _COLUMNS)
    layout: Figure = {"height": 110 + _HEIGHT * rows, "margin": {"l": 50, "r": 20, "t": 40, "b": 70}, "annotations": []}
    layout["legend"] = {"orientation": "h", "y": -0.14 / rows, "yanchor": "top"}
    traces: list[Figure] = []
    for place, part in enumerate(parts):
        number = str(place + 1) if place else ""
        layout |= _axes(place, rows, number, part)
        corner = {"xref": f"x{number} domain", "yref": f"y{number} domain", "x": 0, "y": 1.12, "showarrow": False}
        layout["annotations"].append(corner | {"text": f"{safe(part.group)}: {safe(part.figure)}"})
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        traces += [trace | axes for trace in _traces(part, shown=place == 0)]
    return Panel("Score by meeting depth", CAPTION, {comparison.split: {"data": traces, "layout": layout}})


def _axes(place: int, rows: int, number: str, part: Part) -> Figure:
    """Return the axes of a part at its place in the grid of parts, the first at the top left."""
    row, column = divmod(place, _COLUMNS)
    width, height = (1 - (_COLUMNS - 1) * _GAP) / _COLUMNS, (1 - (rows - 1) * 2 * _GAP) / rows
    left, top = column * (width + _GAP), 1 - row * (height + 2 * _GAP)
    ticks = {"tickvals": list(_TICKS), "ticktext": list(_TICKS.values()), "zeroline": False}
    return {
        f"xaxis{number}": {"domain": [left, min(1, left + width)], "anchor": f"y{number}", "range": _RANGE, **ticks},
        f"yaxis{number}": {"domain": [max(0, top - height), top], "anchor": f"x{number}", "automargin": True},
    }


def _traces(part: Part, shown: bool) -> Iterator[Figure]:
    for place, line in enumerate(part.lines):
        colour, values = COLOURS[place % len(COLOURS)], [score.value for score in line.scores]
        shared = {"type": "scatter", "legendgroup": line.kind, "x": line.depths}
        bars = {"type": "data", "array": [finite(score.half) for score in line.scores], "thickness": 1}
        if len(line.depths) > 1 and _known(line.scores):
            edges = [*(score.high for score in line.scores), *(score.low for score in line.scores[::-1])]
            outline = {"x": [*line.depths, *line.depths[::-1]], "y": edges, "fill": "toself", "mode": "lines"}
            quiet = {"line": {"width": 0, "color": colour}, "opacity": 0.2, "hoverinfo": "skip", "showlegend": False}
            yield shared | outline | quiet
        drawn = {"mode": "lines+markers", "name": safe(line.kind), "line": {"color": colour}, "showlegend": shown}
        yield shared | drawn | {"y": values, "error_y": bars}
    for place, (name, score) in enumerate(part.floors):
        dots = {"color": "#666", "dash": ("dot", "dashdot", "dash")[place % 3]}
        ends = {"x": _RANGE, "y": [score.value, score.value], "legendgroup": name}
        yield ends | {
            "type": "scatter", "mode": "lines", "name": safe(name), "line": dots, "showlegend": shown
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

    columns, rows = min(_COLUMNS, len(parts)), -(-len(parts) // _COLUMNS)
    picture = Picture(figsize=(3.6 * columns, 0.6 + 2.7 * rows), layout="constrained")
    FigureCanvasAgg(picture)
    for place, part in enumerate(parts, 1):
        _draw_part(picture.add_subplot(rows, columns, place), part)
    picture.supxlabel("where image and text meet", fontsize=8)
    handles, names = picture.axes[0].get_legend_handles_labels()
    picture.legend(handles, names, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.savefig(path, dpi=200)
    except (OSError, ValueError) as error:  # a ValueError for an unknown format
        raise InputError(f"--curve {path}: cannot be written ({error}): name a .png, .pdf or .svg file") from error


def _plain(text: str) -> str:
    """Return a label that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def _draw_part(axes: Any, part: Part) -> None:
    for place, line in enumerate(part.lines):
        colour, values = COLOURS[place % len(COLOURS)], [score.value for score in line.scores]
        bars = [finite(score.half) for score in line.scores]
        axes.errorbar(line.depths, values, yerr=bars, color=colour, marker="o", ms=3.5, lw=1.3, label=_plain(line.kind))
        if len(values) > 1 and _known(line.scores):
            low, high = [score.low for score in line.scores], [score.high for score in line.scores]
            axes.fill_between(line.depths, low, high, color=colour, alpha=0.15, lw=0)
    for place, (name, score) in enumerate(part.floors):
        axes.axhline(score.value, color="#666", ls=(":", "-.", "--")[place % 3], lw=1, label=_plain(name))
    axes.set_title(f"{part.group}: {part.figure}", fontsize=9, parse_math=False)
    axes.set_xticks(list(_TICKS), list(_TICKS.values()), fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlim(*_RANGE)

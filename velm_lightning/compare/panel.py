"""Shared parts of the plots of the dashboard: the layout for plotly, labels and colours."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.result import Result

COLOURS = ("#3366cc", "#dc6900", "#2a9d5c", "#b5338a", "#7a5cc7", "#8a6d3b", "#17a2b8", "#c0392b", "#6b7280", "#4d7c0f")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MOST_LINES, MOST_LETTERS = 30, 44
Figure = dict[str, Any]


class Panel(NamedTuple):
    """A plot with variants that the reader chooses from.

    Attributes:
        title: the title.
        caption: how to read the plot.
        variants: plotly figures by the name of the variant.
    """

    title: str
    caption: str
    variants: dict[str, Figure]


def colours_of(comparison: Comparison) -> dict[str, str]:
    """Return a colour for each fusion."""
    fusions = sorted({result.method.fusion for result in comparison.results})
    return {fusion: COLOURS[place % len(COLOURS)] for place, fusion in enumerate(fusions)}


def safe(text: str) -> str:
    """Return text escaped for plotly, which interprets some tags."""
    return html.escape(text, quote=False)


def label(result: Result, comparison: Comparison) -> str:
    """Return the label of a method in plots; a long name is cut and followed by its row in the table of scores."""
    name = result.method.name
    return safe(cut(name, [other.method.name for other in comparison.results].index(name) + 1))


def cut(name: str, number: int) -> str:
    """Return the name of a method in at most ``MOST_LETTERS`` letters; cut names are kept apart by a number."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 6].rstrip(' ·')} … ({number})"


def layout_of(x: str = "", y: str = "", **more: Any) -> Figure:
    """Return a layout with titles of the axes, which are shown as plain text, and further entries.

    The legend is above the plot, where the page makes room for its lines; below, it would hide the title of the axis.
    """
    axes: Figure = {
        "xaxis": {"title": {"text": safe(x)}, "automargin": True},
        "yaxis": {"title": {"text": safe(y)}, "automargin": True, "ticklabelstandoff": 6},
    }
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}
    return axes | {"margin": {"l": 60, "r": 20, "t": 40, "b": 50}, "hovermode": "closest", "legend": legend, **more}


def wide_enough(labels: Sequence[str], more: int = 300) -> Figure:
    """Return the entry of a layout for the least width of a plot with labels on its left; a phone scrolls it."""
    return {"meta": {"least": min(1000, more + 7 * max(map(len, labels), default=0))}}


def lines_of(comparison: Comparison, colours: dict[str, str]) -> dict[str, Figure]:
    """Return the line of each method by its name: the colour of its fusion, and a style that differs within it."""
    last_style = dict[str, int]()
    lines: dict[str, Figure] = {}
    for result in comparison.results:
        fusion = result.method.fusion
        place = last_style[fusion] = last_style.get(fusion, -1) + 1
        lines[result.method.name] = {"color": colours[fusion], "dash": DASHES[place % len(DASHES)]}
    return lines


def finite(value: float) -> float:
    """Return the value, or 0 if it is not finite."""
    return value if math.isfinite(value) else 0.0

"""What the pictures of the dashboard have in common: the form in which plotly draws plain data, names, colours."""

from __future__ import annotations

import html
import math
from typing import Any, NamedTuple

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.result import Result

COLOURS = ("#3366cc", "#dc6900", "#2a9d5c", "#b5338a", "#7a5cc7", "#8a6d3b", "#17a2b8", "#c0392b", "#6b7280", "#4d7c0f")
MOST_LINES, MOST_LETTERS = 30, 44
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


def colours_of(found: Comparison) -> dict[str, str]:
    """Give every fusion a colour."""
    fusions = sorted({one.method.fusion for one in found.results})
    return {fusion: COLOURS[place % len(COLOURS)] for place, fusion in enumerate(fusions)}


def safe(text: str) -> str:
    """Return text for plotly, which takes some tags for formatting."""
    return html.escape(text, quote=False)


def label(one: Result, found: Comparison) -> str:
    """Return a method's name as the pictures show it: cut where it is long, with its place in the table of scores."""
    name = one.method.name
    if len(name) > MOST_LETTERS:
        place = [other.method.name for other in found.results].index(name) + 1
        name = f"{name[: MOST_LETTERS - 6].rstrip(' ·')} … ({place})"
    return safe(name)


def layout_of(x: str = "", y: str = "", **more: Any) -> Figure:
    """Return a layout with the titles of its axes, and what else is wanted of it."""
    axes: Figure = {
        "xaxis": {"title": {"text": x}, "automargin": True},
        "yaxis": {"title": {"text": y}, "automargin": True, "ticklabelstandoff": 6},
    }
    return axes | {"margin": {"l": 60, "r": 20, "t": 20, "b": 50}, "hovermode": "closest", **more}


def dashes_of(found: Comparison) -> dict[str, str]:
    """Tell methods of one fusion apart by their lines."""
    styles, seen = ("solid", "dash", "dot", "dashdot", "longdash"), dict[str, int]()
    dashes = {}
    for one in found.results:
        place = seen[one.method.fusion] = seen.get(one.method.fusion, -1) + 1
        dashes[one.method.name] = styles[place % len(styles)]
    return dashes


def finite(value: float) -> float:
    """Return a value that can be drawn: 0 for what is not a number."""
    return value if math.isfinite(value) else 0.0

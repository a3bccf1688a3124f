"""Plots parallel coordinates of settings and scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.grouping import format_setting
from velm_lightning.compare.panel import Panel, layout_of, safe
from velm_lightning.compare.reading import COSTS
from velm_lightning.compare.views.numbers import short
from velm_lightning.compare.views.settings_table import shared_settings


def parallel(comparison: Comparison) -> Panel:
    """Return parallel coordinates of the settings that all methods have; without them there is no plot.

    They are plain lines, because those of plotly need WebGL, which some browsers lack.
    """
    settings = shared_settings(comparison)
    if not settings or len(comparison.results) < 3:
        return Panel("", "", {})
    scores = [result.score.value for result in comparison.results]
    axes = [axis_of(name, values) for name, values in settings.items()]
    axes += [axis_of(COSTS["parameters"], [result.costs["parameters"] for result in comparison.results])]
    axes += [axis_of(f"{comparison.metric.name} on {comparison.split}", scores)]
    shades = [place if comparison.metric.sign > 0 else 1 - place for place in axes[-1].places]
    lines = [
        {
            "type": "scatter", "mode": "lines", "showlegend": False, "name": "",
            "x": list(range(len(axes))), "y": [axis.places[row] for axis in axes], "text": safe(result.method.name),
            "hovertemplate": f"%{{text}}: {result.score.value:.4f}", "line": {"color": _shade(shades[row])},
        }
        for row, result in reversed(list(enumerate(comparison.results[:200])))
    ]  # fmt: skip
    style = {"showarrow": False, "xanchor": "left", "xshift": 4, "bgcolor": "rgba(255,255,255,0.7)"}
    ticks = [style | {"x": place, "y": y, "text": text} for place, axis in enumerate(axes) for y, text in axis.ticks]
    layout = layout_of(height=440, annotations=ticks)
    layout["xaxis"] |= {
        "tickvals": list(range(len(axes))), "ticktext": [axis.name for axis in axes], "side": "top", "showgrid": True,
        "gridcolor": "#888", "range": [-0.1, len(axes) - 0.6],
    }  # fmt: skip
    layout["yaxis"] |= {"visible": False}
    caption = "One line per method, darker for better figures; each line crosses an axis at its setting."
    return Panel("Settings", caption, {"settings": {"data": lines, "layout": layout}})


class _Axis(NamedTuple):
    """A parallel axis: its ticks, and the position of each method from 0 to 1."""

    name: str
    places: list[float]
    ticks: list[tuple[float, str]]


def axis_of(name: str, values: Sequence[Any]) -> _Axis:
    """Return an axis with the values of the methods, numbers on their scale and others as categories."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values) or not all(map(math.isfinite, numbers)):
        kinds = sorted({format_setting(value) for value in values})
        step = 1 / max(1, len(kinds) - 1)
        places = [kinds.index(format_setting(value)) * step for value in values]
        return _Axis(safe(name), places, [(place * step, safe(kind)[:24]) for place, kind in enumerate(kinds)])
    low, high = min(numbers), max(numbers)
    logarithmic = low > 0 and high / low >= 50
    scaled = [math.log(value) if logarithmic else float(value) for value in numbers]
    start, width = min(scaled), (max(scaled) - min(scaled)) or 1.0
    marks = _apart(sorted(set(zip(scaled, numbers, strict=True))), width)
    ticks = [((place - start) / width, short(mark)) for place, mark in marks]
    return _Axis(safe(name), [(value - start) / width for value in scaled], ticks)


def _apart(marks: Sequence[tuple[float, float]], width: float) -> list[tuple[float, float]]:
    """Return the marks that do not overlap and differ as texts, lowest first; the highest is always kept."""
    spaced = [marks[-1]]
    for mark in marks[:-1]:
        if all(abs(mark[0] - other[0]) >= 0.06 * width and short(mark[1]) != short(other[1]) for other in spaced):
            spaced.append(mark)
    return sorted(spaced)


def _shade(place: float) -> str:
    """Return a colour from pale blue (0) to dark blue (1)."""
    red, green, blue = (round(pale + place * (dark - pale)) for pale, dark in ((200, 20), (216, 60), (240, 140)))
    return f"rgb({red},{green},{blue})"

"""Writes the dashboard: one self-contained HTML file that works without a network."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.figures import panels
from velm_lightning.compare.grouping import format_setting, short_names
from velm_lightning.compare.reading import COSTS
from velm_lightning.compare.tables import sheets
from velm_lightning.compare.views.exports import latex, markdown, table_of_runs
from velm_lightning.compare.views.gallery import gallery
from velm_lightning.compare.views.header import commands, header
from velm_lightning.compare.views.links import links
from velm_lightning.errors import InputError

DIGITS = 6
"""Significant digits of the numbers of plots."""


def page(comparison: Comparison, title: str, place: Path | None = None) -> str:
    """Return the page as HTML; all texts of runs are shown as plain text.

    Args:
        comparison: the comparison.
        title: the title.
        place: the folder that the page will be in, for links to run folders; None makes none.

    Raises:
        InputError: If plotly is not installed.
    """
    data = {
        "title": title,
        "header": header(comparison),
        "commands": commands(comparison.runs),
        "files": {
            "runs.csv": table_of_runs(comparison),
            "tables.tex": latex(comparison),
            "tables.md": markdown(comparison),
        },
        "links": links(comparison.runs, place),
        "notes": comparison.notes,
        "left": [f"{left.folder}: {left.why}" for left in comparison.left],
        "sheets": [sheet._asdict() for sheet in sheets(comparison)],
        "runs": _runs(comparison),
        "panels": [_rounded(panel._asdict()) for panel in panels(comparison)],
        "gallery": gallery(comparison),
    }
    scripts = [asset(f"{name}.js") for name in ("parts", "gallery", "page")]
    return filled(
        "page.html",
        STYLE=asset("style.css"),
        PLOTLY=_packed_plotly(),
        DATA=packed(as_json(data)),
        SCRIPTS="\n".join(scripts),
    )


def asset(name: str) -> str:
    """Return a file of the folder ``assets``."""
    return files("velm_lightning.compare").joinpath("assets", name).read_text("utf-8")


def filled(name: str, **parts: str) -> str:
    """Return a template of the folder ``assets`` with its marks, such as ``/*DATA*/``, replaced."""
    before, *marked = re.split(r"/\*([A-Z]+)\*/", asset(name))
    return before + "".join(parts[mark] + after for mark, after in zip(marked[::2], marked[1::2], strict=True))


def plotly_js() -> str:
    """Return the source of plotly.js.

    Raises:
        InputError: If plotly is not installed.
    """
    try:
        return files("plotly").joinpath("package_data", "plotly.min.js").read_text("utf-8")
    except ModuleNotFoundError as error:
        raise InputError("--html needs plotly, which is not installed: pip install plotly") from error


@cache
def _packed_plotly() -> str:
    return packed(plotly_js())


def packed(text: str) -> str:
    """Return a text compressed by gzip, in base64: a third of plotly's size, and nothing in it can end its script."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def as_json(data: Any) -> str:
    """Return data as JSON in which NaN and infinity are null."""
    return json.dumps(_without_nan(data), ensure_ascii=True, allow_nan=False)


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _without_nan(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _rounded(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_rounded(value) for value in data]
    return float(f"{data:.{DIGITS}g}") if isinstance(data, float) else data


def _runs(comparison: Comparison) -> dict[str, Any]:
    """Return the table of runs: differing settings, score and costs."""
    differing = dict.fromkeys(key for result in comparison.results for key in result.method.settings)
    names = short_names([key for key in differing if key != "model.class_path"])  # that is the fusion
    costs = [name for name in COSTS if any(not math.isnan(run.cost(name)) for run in comparison.runs)]
    head = [
        "run",
        "fusion",
        "seed",
        *names.values(),
        f"{comparison.metric.name} on {comparison.split}",
        *(COSTS[name] for name in costs),
    ]
    rows = [
        [
            run.ident,
            run.fusion,
            run.seed,
            *(format_setting(result.method.settings[key]) if key in result.method.settings else "" for key in names),
            run.figure(comparison.split, comparison.metric.name),
            *(run.cost(name) for name in costs),
        ]
        for result in comparison.results
        for run in result.method.runs
    ]
    return {"head": head, "rows": rows}

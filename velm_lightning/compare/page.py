"""Writes the dashboard: one self-contained HTML file that works without a network."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.figures import panels
from velm_lightning.compare.grouping import format_setting, short_names
from velm_lightning.compare.reading import COSTS
from velm_lightning.compare.tables import latex, markdown, sheets, table_of_runs
from velm_lightning.compare.views.header import commands, header
from velm_lightning.compare.views.links import links
from velm_lightning.errors import InputError

MOST_METHODS = 12
"""Maximum number of methods in the gallery."""


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
        "panels": [panel._asdict() for panel in panels(comparison)],
        "gallery": gallery(comparison),
    }
    template = files("velm_lightning.compare").joinpath("page.html").read_text("utf-8")
    before, rest = template.split("/*PLOTLY*/")
    between, after = rest.split("/*DATA*/")
    return "".join((before, plotly_js(), between, for_script(data), after))


def plotly_js() -> str:
    """Return the source of plotly.js."""
    try:
        return files("plotly").joinpath("package_data", "plotly.min.js").read_text("utf-8")
    except ModuleNotFoundError as error:
        raise InputError("--html needs plotly, which is not installed: pip install plotly") from error


def for_script(data: Any) -> str:
    """Return data as JSON that is safe within a script element; NaN and infinity become null."""
    text = json.dumps(_without_nan(data), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _without_nan(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


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


def gallery(comparison: Comparison) -> dict[str, Any] | None:
    """Return the samples with stored images, with the predictions of the first seed of each method."""
    data = comparison.results[0].method.runs[0].data
    chosen = [result for result in comparison.results if result.method.runs[0].data == data][:MOST_METHODS]
    runs = [result.method.runs[0] for result in chosen]
    pictures = next(filter(None, (run.thumbnails(comparison.split) for run in runs)), None)
    if not pictures:
        return None
    samples: dict[str, dict[str, Any]] = {}
    for run in runs:
        for row in run.rows(comparison.split):
            if (row.get("image") or "") in pictures:
                shared = {name: row.get(name) or "" for name in ("prompt", "group", "image")}
                shared["references"] = list(row.get("references") or ())
                predictions = samples.setdefault(row["key"], shared | {"predictions": []})["predictions"]
                predictions.append([row.get("prediction", ""), row["score"], row.get("confidence")])
    scores = [score for sample in samples.values() for _, score, _ in sample["predictions"] if score is not None]
    graded = max(scores, default=0.0) > 1
    return {
        "methods": [f"{result.method.name} (seed {run.seed})" for result, run in zip(chosen, runs, strict=True)],
        "pictures": pictures,
        "samples": [sample for sample in samples.values() if len(sample["predictions"]) == len(runs)],
        "right": median(scores) if graded else 0.5,
        "words": ["above the median", "below it"] if graded else ["right", "wrong"],
    }

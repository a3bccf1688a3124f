"""Saves a comparison as a W&B report: tables and notes as text, curves and scores as panels of W&B."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.views.exports import markdown
from velm_lightning.errors import InputError
from velm_lightning.io.wandb_service import end_service


def send(comparison: Comparison, project: str, title: str) -> str:
    """Save a report in a W&B project and return its address; its panels show the runs of the project.

    Args:
        comparison: the comparison.
        project: ``entity/project``.
        title: the title of the report.

    Raises:
        InputError: If the project is malformed, ``wandb-workspaces`` is not installed, or W&B rejects the report.
    """
    words = project.split("/")
    if len(words) != 2 or not all(words):
        raise InputError(f"--report {project} does not name a W&B project: write entity/project")
    try:
        reports: Any = import_module("wandb_workspaces.reports.v2")
    except ImportError as error:
        raise InputError(
            "--report needs wandb-workspaces, which is not installed: pip install velm-lightning[reports]"
        ) from error
    import requests
    import wandb

    try:
        report = reports.Report(
            entity=words[0], project=words[1], title=title, blocks=_blocks(reports, comparison, *words)
        )
        report.save()  # if there is no such project, the client raises a TypeError or KeyError
        return str(report.url)
    except (wandb.errors.Error, requests.RequestException, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"--report {project}: W&B rejected the report: {reason}: check the name and `wandb login`"
        ) from error
    finally:
        end_service()


def _blocks(reports: Any, comparison: Comparison, entity: str, project: str) -> list[Any]:
    split, metric = comparison.split, comparison.metric.name
    keys = list(dict.fromkeys(key for result in comparison.results for key in result.method.settings))
    columns = [*(f"config:{key}" for key in keys[:8]), f"summary:{split}/{metric}"]
    panels = [
        reports.LinePlot(x="Step", y=[f"val/{metric}"], title=f"val/{metric}"),
        reports.BarPlot(metrics=[f"{split}/{metric}"], title=f"{split}/{metric}"),
        reports.ParallelCoordinatesPlot(columns=[reports.ParallelCoordinatesPlotColumn(column) for column in columns]),
    ]
    runs = reports.Runset(entity=entity, project=project, name="runs of this project")
    return [reports.MarkdownBlock(markdown(comparison)), reports.PanelGrid(runsets=[runs], panels=panels)]

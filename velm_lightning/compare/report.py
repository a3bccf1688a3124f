"""A W&B report of a comparison: tables and notes as text, curves and scores as panels of W&B."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.tables import markdown
from velm_lightning.errors import InputError
from velm_lightning.io.wandb_service import end_service


def send(found: Comparison, project: str, title: str) -> str:
    """Save a report in a W&B project, whose runs its panels show, and return its address.

    Args:
        found: the comparison.
        project: ``entity/project``.
        title: the title of the report.

    Raises:
        InputError: the project is malformed, ``wandb-workspaces`` is not installed, or W&B does not take the report.
    """
    words = project.split("/")
    if len(words) != 2 or not all(words):
        raise InputError(f"--report {project}: write entity/project")
    try:
        reports: Any = import_module("wandb_workspaces.reports.v2")
    except ImportError as error:
        raise InputError("--report needs wandb-workspaces: pip install velm-lightning[reports]") from error
    import requests
    import wandb

    try:
        report = reports.Report(entity=words[0], project=words[1], title=title, blocks=_blocks(reports, found, *words))
        report.save()  # where there is no such project, the client stumbles over an answer without one
        return str(report.url)
    except (wandb.errors.Error, requests.RequestException, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"--report {project}: W&B has not taken it: {reason}: check the name and `wandb login`"
        ) from error
    finally:
        end_service()


def _blocks(reports: Any, found: Comparison, entity: str, project: str) -> list[Any]:
    split, metric = found.split, found.metric.name
    keys = list(dict.fromkeys(key for one in found.results for key in one.method.settings))
    columns = [*(f"config:{key}" for key in keys[:8]), f"summary:{split}/{metric}"]
    panels = [
        reports.LinePlot(x="Step", y=[f"val/{metric}"], title=f"val/{metric}"),
        reports.BarPlot(metrics=[f"{split}/{metric}"], title=f"{split}/{metric}"),
        reports.ParallelCoordinatesPlot(columns=[reports.ParallelCoordinatesPlotColumn(one) for one in columns]),
    ]
    runs = reports.Runset(entity=entity, project=project, name="runs of this project")
    return [reports.MarkdownBlock(markdown(found)), reports.PanelGrid(runsets=[runs], panels=panels)]

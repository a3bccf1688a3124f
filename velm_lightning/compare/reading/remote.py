"""Fetches runs from W&B: each run uploads the files of its folder, which are downloaded and read like a local run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError
from velm_lightning.io.wandb_service import end_service

PREFIX = "wandb:"
SECONDS = 20
"""Timeout of requests to W&B in seconds."""


def fetch(place: str, into: Path) -> Path:
    """Fetch the runs of a W&B project, or one run, and return the folder that holds their folders.

    Files that were fetched before and have not changed are not fetched again.

    Args:
        place: ``wandb:entity/project`` or ``wandb:entity/project/run``.
        into: the folder that gets a folder for the project.

    Raises:
        InputError: If the place is malformed, W&B does not answer or has no such project, or no run has files.
    """
    words = place.removeprefix(PREFIX).strip("/").split("/")
    if len(words) not in (2, 3) or not all(words):
        raise InputError(f"{place} does not name a W&B project: write wandb:entity/project or wandb:entity/project/run")
    import wandb

    folder = into / words[0] / words[1]
    faults = (wandb.errors.Error, ValueError, OSError)  # of the client, of its arguments, of the network
    try:
        api: Any = wandb.Api(timeout=SECONDS)
        runs = [api.run("/".join(words))] if len(words) == 3 else api.runs("/".join(words))
        paths = [path for run in runs for path in _files_of(run, folder)]
    except faults as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{place} cannot be read: {reason}: check the name and `wandb login`") from error
    finally:
        end_service()
    if not paths:
        raise InputError(
            f"{place}: no run there holds the files of a velm run; runs upload them if they were tracked by W&B"
        )
    return folder


def _files_of(run: Any, folder: Path) -> Iterator[Path]:
    """Fetch the files of a run's folder; names that lead out of the folder are skipped."""
    for file in run.files():
        parts = Path(file.name).parts
        if parts[0] != run.id or ".." in parts or Path(file.name).is_absolute():
            continue
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.size:
            path.parent.mkdir(parents=True, exist_ok=True)
            file.download(root=os.fspath(folder), replace=True).close()
        yield path

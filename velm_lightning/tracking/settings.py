"""The ``tracking`` section of a config, and the Weights & Biases logger of a run."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from velm_lightning.errors import at_least
from velm_lightning.io.atomic import make_folder
from velm_lightning.io.wandb_service import check_settings_file, end_service, logged_in, own_temporary_folders
from velm_lightning.tracking.run import Run

_log = logging.getLogger(__name__)

FLUSH = 1.0
"""Seconds between two writes of W&B's own file; ``kill -9`` loses what was logged since the last one."""

START, END = 8, 30
"""Seconds to wait for the W&B server at the start of a run, and for the last upload at its end."""


class Wandb(WandbLogger):
    """Lightning's W&B logger, which switches to offline mode if the server does not answer."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._wandb_init.pop("anonymous", None)  # W&B ignores it, and warns of any value, also None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run."""
        import wandb

        if self._experiment is None and wandb.run is None and self._wandb_init.get("mode") == "online":
            try:
                return super().experiment
            except (wandb.errors.CommError, wandb.errors.AuthenticationError, wandb.errors.UsageError) as error:
                end_service()
                self._wandb_init["mode"] = "offline"
                _log.info("W&B cannot be reached: %s", str(error).splitlines()[0])
                _log.info("W&B is recorded offline; %s", later(Path(str(self.save_dir))))
        return super().experiment


class Tracking:
    """Settings that say where runs are stored and logged.

    Args:
        experiment: name of the experiment, which is the folder under ``runs``.
        runs: folder of all runs.
        wandb: ``auto`` is online with a W&B login and offline without one; ``disabled`` or false does not use W&B.
            YAML reads ``off`` as false.
        project: W&B project; by default ``experiment``.
        entity: W&B user or team.
        tags: W&B tags.
        group: W&B group.
        pictures: number of samples with images in the gallery and the W&B table of an evaluation.
        thumbnails: number of small images stored next to the predictions of an evaluation, for reports.
    """

    def __init__(
        self,
        experiment: str = "velm",
        runs: Path = Path("runs"),
        wandb: Literal["auto", "online", "offline", "disabled"] | bool = "auto",
        project: str | None = None,
        entity: str | None = None,
        tags: Sequence[str] = (),
        group: str | None = None,
        pictures: int = 32,
        thumbnails: int = 200,
    ) -> None:
        at_least(0, "tracking", pictures=pictures, thumbnails=thumbnails)
        self.experiment, self.runs = experiment, runs
        self.wandb = {True: "auto", False: "disabled"}[wandb] if isinstance(wandb, bool) else wandb
        self.project, self.entity, self.tags, self.group = project, entity, tags, group
        self.pictures, self.thumbnails = pictures, thumbnails

    def wandb_logger(self, run: Run, config: dict[str, Any]) -> Wandb | None:
        """Return the W&B logger of a run, or None if W&B is off or disabled."""
        if self.wandb == "disabled" or os.environ.get("WANDB_MODE") == "disabled":
            return None
        if self.online:
            check_settings_file()
        run.place("wandb")
        rank_zero_only(make_folder)(run.folder)  # other ranks may have another folder at this point
        os.environ.setdefault("WANDB_SILENT", "true")  # read when its service starts, before any settings are
        return Wandb(
            project=self.project or self.experiment,
            entity=self.entity,
            name=run.ident,
            id=run.ident,
            save_dir=run.folder,
            mode="online" if self.online else "offline",
            tags=list(self.tags) or None,
            group=self.group,
            config=config,
            settings=_settings(),
        )

    @property
    def online(self) -> bool:
        """Whether metrics are uploaded to W&B during the run."""
        return self.wandb == "online" or (self.wandb == "auto" and logged_in())


def _settings() -> Any:
    import wandb

    own_temporary_folders()
    # W&B writes every 15 seconds by default, and a file without records stops `wandb sync`. Older versions lack this.
    name = "x_transaction_log_flush_interval"
    flush: dict[str, Any] = {name: FLUSH} if name in wandb.Settings.model_fields else {}
    # Git diffs and code are not uploaded unless a user asks for it.
    return wandb.Settings(
        init_timeout=START,
        finish_timeout=END,
        finish_timeout_raises=True,
        silent=True,
        disable_git=True,
        save_code=False,
        **flush,
    )


def close_wandb(run: Run) -> None:
    """Upload the remaining data for up to ``END`` seconds; data that is not uploaded stays on disk."""
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return
    try:
        if address := getattr(wandb.run, "url", None):  # None offline
            run.update(wandb=address)
        _send_folder(wandb.run, run.folder)
        wandb.finish()
    except Exception as error:
        _log.info("W&B has not received all data of this run (%s); %s", error, later(run.folder))
    end_service(END)


KEPT = ("run.json", "config.yaml", "metrics.csv", "predictions/*.jsonl")
"""Files of a run's folder that are uploaded to W&B."""


def _send_folder(wandb_run: Any, folder: Path) -> None:
    folder = folder.resolve()
    for pattern in KEPT:
        if any(folder.glob(pattern)):
            wandb_run.save(f"{folder}/{pattern}", base_path=str(folder.parent), policy="now")


@rank_zero_only
def say_offline(run: Run) -> None:
    """Print how to upload an offline run."""
    _log.info("W&B is recorded offline; %s", later(run.folder))


def later(folder: Path) -> str:
    """Return the command that uploads an offline run, one start after another, as one may be unreadable."""
    runs = f"{shlex.quote(str(folder))}/wandb/*run-*"
    return f'later: for run in {runs}; do wandb sync --include-online "$run"; done'

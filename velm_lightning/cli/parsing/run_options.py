"""The options of a run that belong to no class, and the defaults of Lightning's callbacks."""

from __future__ import annotations

from typing import Literal

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt

DEFAULTS = {
    "checkpoint.monitor": "val/score",
    "checkpoint.mode": "max",
    "checkpoint.filename": "best",
    "checkpoint.auto_insert_metric_name": False,
    "checkpoint.enable_version_counter": False,
    "early_stopping.monitor": "val/score",
    "early_stopping.mode": "max",
    "early_stopping.patience": 10,
    "early_stopping.check_on_train_epoch_end": False,  # with max_steps there may be no evaluation
}
"""Checkpoints and early stopping follow the headline metric."""


def add_run_options(parser: ArgumentParser) -> None:
    """Declare what happens when a run ends, is resumed, or fails."""
    parser.add_argument("--test_after_fit", type=bool, default=True, help="evaluate the best checkpoint after training")
    parser.add_argument(
        "--resume",
        type=Literal["auto"] | None,
        help="`auto` resumes from the newest usable checkpoint of the run whose config is given, or of the newest "
        "unfinished run with the same config; without one, a new run starts",
    )
    parser.add_argument(
        "--resume_schedule",
        type=Literal["continue", "stretch"] | None,
        help="learning rate of a resumed run with a changed number of steps: `stretch` uses the schedule of the "
        "new number, `continue` decays from the current rate to 0",
    )
    parser.add_argument(
        "--on_nan",
        type=Literal["stop", "skip"],
        default="stop",
        help="whether a loss that is not finite stops the run or skips the step",
    )
    parser.add_argument(
        "--save_every_n_steps",
        type=NonNegativeInt,
        default=0,
        help="write last.ckpt every N steps within an epoch (0: only at its end)",
    )
    parser.add_argument("--allow", type=str | None, help="further packages, A,B, whose classes a config may name")

"""Applies, refuses or ignores settings that have changed when a run resumes, and reports each of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch.optim.lr_scheduler import LambdaLR

from velm_lightning.checkpoints.checkpoint import differences
from velm_lightning.io.configurable import build
from velm_lightning.io.yaml_files import load_yaml, read_yaml
from velm_lightning.training.schedules import PlannedSchedule
from velm_lightning.types import InputError

_log = logging.getLogger(__name__)

Choice = Literal["continue", "stretch"]
WITHOUT_EFFECT = ("model.init_args.init_from", "tracking.experiment", "tracking.runs")
"""Settings that only the first start of a run uses; ``config.yaml`` keeps their first values."""


class Resuming(Callback):
    """Applies changed settings of the optimiser and of early stopping when a run resumes, and reports all changes.

    A checkpoint holds the learning rates, the weight decay and the schedule that it was written with, and Lightning
    restores them. The current config replaces them, except for a schedule of another length, which needs ``choice``.

    Args:
        config: the current settings, as text of ``config.yaml``.
        file: ``config.yaml`` of the run's last start; it need not exist.
        choice: ``stretch`` follows the schedule of the new length from the current step on; ``continue`` lets the
            learning rate fall from its current value to 0 over the remaining steps; None raises if the length changes.

    Attributes:
        changed: the changed settings, one phrase each.
    """

    def __init__(self, config: str, file: Path, choice: Choice | None = None) -> None:
        self.config, self.file, self.choice = load_yaml(config), file, choice
        self.before: dict[str, Any] | None = None
        self.changed: list[str] = []

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Apply early stopping, with its current patience, and check the parameter groups of the optimiser.

        Raises:
            InputError: the settings give other parameter groups than those of the checkpoint's optimiser.
        """
        if trainer.state.fn != "fit":
            return
        self.before = read_yaml(self.file) if self.file.is_file() else None
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.state_key in checkpoint.get("callbacks", {}):
                state = checkpoint["callbacks"][callback.state_key]
                unchanged = state["patience"] == callback.patience
                trainer.should_stop |= unchanged and checkpoint.get("velm_should_stop", False)
                state["patience"] = callback.patience
        states, optimization = checkpoint.get("optimizer_states", []), getattr(pl_module, "optimization", None)
        if not states or optimization is None:
            return
        saved = [len(group["params"]) for group in states[0]["param_groups"]]
        current = [len(group["params"]) for group in optimization.groups(pl_module)]
        if saved != current:
            raise InputError(
                f"the checkpoint's optimiser has groups of {saved} parameters, the config gives {current}: keep "
                "pretrained_lr_scale, layer_decay and the trainable parts unchanged, or start a new run from its "
                "weights with --model.init_from"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Apply the config to the optimiser and its schedule, and print the changed settings.

        Raises:
            InputError: the schedule has another length and ``choice`` is None.
        """
        if not trainer.ckpt_path:
            return
        if self.before is not None:
            changes = (change.removeprefix(".") for change in differences(self.before, self.config, ""))
            self.changed = [
                f"{change} (without effect)" if change.startswith(WITHOUT_EFFECT) else change for change in changes
            ]
        optimizer = trainer.optimizers[0]
        rate = optimizer.param_groups[0]["lr"]
        scheduler = next((config.scheduler for config in trainer.lr_scheduler_configs), None)
        if isinstance(scheduler, LambdaLR) and isinstance(scheduler.lr_lambdas[0], PlannedSchedule):
            self._follow(trainer, pl_module, scheduler)
        if optimizer.param_groups[0]["lr"] != rate:
            self.changed.append(f"learning rate was {rate:.3g}, is {optimizer.param_groups[0]['lr']:.3g}")
        if self.changed and trainer.is_global_zero:
            _log.info("changed since the last start: %s", "; ".join(self.changed))

    def _follow(self, trainer: Trainer, model: Any, scheduler: LambdaLR) -> None:
        schedule: Any = scheduler.lr_lambdas[0]  # shared by all groups
        planned = model.optimization.schedule.plan(trainer.estimated_stepping_batches)
        step = scheduler.last_epoch
        if schedule.plan != planned.plan:
            schedule.decay = build(schedule.plan[2]).decay  # of the class that the run was started with
            now = scheduler.optimizer.param_groups[0]["lr"]
            then = model.optimization.learning_rate * planned(step)
            left = planned.steps - step
            if self.choice is None:
                raise InputError(
                    f"the schedule was {schedule}, now {planned}: --resume_schedule=stretch takes the learning rate "
                    f"from {now:.3g} to {then:.3g} at step {step}, --resume_schedule=continue lets it fall from "
                    f"{now:.3g} to 0 over the {left:g} steps that are left"
                )
            if self.choice == "continue" and not schedule(step):
                raise InputError(
                    f"the schedule has ended at step {step} with a learning rate of 0: --resume_schedule=stretch takes "
                    f"it to {then:.3g}, or start a new run from the weights with --model.init_from {trainer.ckpt_path}"
                )
            chosen = planned if self.choice == "stretch" else schedule.continued(step, planned)
            vars(schedule).update(vars(chosen))
            schedule.decay = planned.decay
        for group, fresh in zip(scheduler.optimizer.param_groups, model.optimization.groups(model), strict=True):
            group.update(weight_decay=fresh["weight_decay"], initial_lr=fresh["lr"], betas=model.optimization.betas)
            group["lr"] = fresh["lr"] * schedule(step)
        scheduler.base_lrs = [group["initial_lr"] for group in scheduler.optimizer.param_groups]

    def restore(self, config: Any) -> None:
        """Reset the settings in ``WITHOUT_EFFECT`` to their first values in a config."""
        for key in WITHOUT_EFFECT if self.before is not None else ():
            value: Any = self.before
            for name in key.split("."):
                value = (value or {}).get(name)
            if key in config:
                config[key] = value

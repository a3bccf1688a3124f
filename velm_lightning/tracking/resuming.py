"""Settings that have changed when a run goes on: they take effect, are refused, or stay as they were; all are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch.optim.lr_scheduler import LambdaLR

from velm_lightning.checkpoints.checkpoint import differences
from velm_lightning.io.files import read_text
from velm_lightning.training.optimization import Schedule
from velm_lightning.types import InputError

Choice = Literal["continue", "stretch"]
WITHOUT_EFFECT = ("model.init_args.init_from", "tracking.experiment", "tracking.runs")
"""Settings that only the first start of a run can follow; ``config.yaml`` goes on saying what they were."""


class Resuming(Callback):
    """Lets changed settings of the optimiser and of early stopping take effect when a run goes on, and names all.

    A checkpoint holds the rates, the weight decay and the schedule that it was written with, and Lightning puts them
    back. What the config says now takes their place, but for a schedule of another length: that is refused unless
    ``choice`` tells how the rate is to go on.

    Args:
        config: the settings as ``config.yaml`` will hold them.
        file: ``config.yaml`` as the run's last start left it, if the run goes on.
        choice: ``stretch`` follows the schedule as the new length gives it, from now on; ``continue`` lets the rate go
            on from where it stands and fall to 0 over the steps that are left.

    Attributes:
        changed: settings that are not what they were, a sentence each.
    """

    def __init__(self, config: str, file: Path, choice: Choice | None = None) -> None:
        self.config, self.file, self.choice = yaml.safe_load(config), file, choice
        self.before: dict[str, Any] | None = None
        self.changed: list[str] = []

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let the patience of early stopping be as it is set now; refuse other groups of parameters.

        Raises:
            InputError: settings sort the parameters into other groups than those of the checkpoint's optimiser.
        """
        if trainer.state.fn != "fit":
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.state_key in checkpoint.get("callbacks", {}):
                checkpoint["callbacks"][callback.state_key]["patience"] = callback.patience
        states, optimization = checkpoint.get("optimizer_states", []), getattr(pl_module, "optimization", None)
        if not states or optimization is None:
            return
        there = [len(group["params"]) for group in states[0]["param_groups"]]
        here = [len(group["params"]) for group in optimization.groups(pl_module)]
        if there != here:
            raise InputError(
                f"the checkpoint's optimiser has groups of {there} parameters, the config gives {here}: leave "
                "pretrained_lr_scale, layer_decay and what is trainable as they were, or start a new run from its "
                "weights with --model.init_from"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the optimiser follow the config, and say what has changed.

        Raises:
            InputError: the schedule would have another length, and nobody has said how the rate is to go on.
        """
        if not trainer.ckpt_path:
            return
        if self.file.is_file():
            self.before = yaml.safe_load(read_text(self.file))
            found = (one.removeprefix(".") for one in differences(self.before, self.config, ""))
            self.changed = [f"{one} (without effect)" if one.startswith(WITHOUT_EFFECT) else one for one in found]
        optimizer = trainer.optimizers[0]
        rate = optimizer.param_groups[0]["lr"]
        scheduler = next((one.scheduler for one in trainer.lr_scheduler_configs), None)
        if isinstance(scheduler, LambdaLR) and isinstance(scheduler.lr_lambdas[0], Schedule):
            self._follow(trainer, pl_module, scheduler)
        if optimizer.param_groups[0]["lr"] != rate:
            self.changed.append(f"learning rate was {rate:.3g}, is {optimizer.param_groups[0]['lr']:.3g}")
        if self.changed and trainer.is_global_zero:
            print(f"changed since the last start: {'; '.join(self.changed)}")

    def _follow(self, trainer: Trainer, model: Any, scheduler: LambdaLR) -> None:
        schedule: Any = scheduler.lr_lambdas[0]  # one for all groups
        planned, step = model.optimization.schedule(trainer.estimated_stepping_batches), scheduler.last_epoch
        if schedule.plan != planned.plan:
            now = scheduler.optimizer.param_groups[0]["lr"]
            then = model.optimization.learning_rate * planned(step)
            left = planned.steps - step
            if self.choice is None:
                raise InputError(
                    f"the schedule was planned for {schedule.plan[1]:g} steps, {schedule.plan[0]} of them warm-up, now "
                    f"for {planned.steps:g} and {planned.warmup}: --resume_schedule=stretch takes the learning rate "
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
        for group, fresh in zip(scheduler.optimizer.param_groups, model.optimization.groups(model), strict=True):
            group.update(weight_decay=fresh["weight_decay"], initial_lr=fresh["lr"], betas=model.optimization.betas)
            group["lr"] = fresh["lr"] * schedule(step)
        scheduler.base_lrs = [group["initial_lr"] for group in scheduler.optimizer.param_groups]

    def restore(self, config: Any) -> None:
        """Put settings that were changed without effect back into a config, so that it says what is so."""
        for key in WITHOUT_EFFECT if self.before is not None else ():
            value: Any = self.before
            for name in key.split("."):
                value = (value or {}).get(name)
            if key in config:
                config[key] = value

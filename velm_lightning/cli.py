"""Training and evaluation from the command line: Lightning's own command line, with our run folder around it."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import dict_to_namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger

import velm_lightning.encoders
import velm_lightning.fusion
import velm_lightning.tasks  # noqa: F401 - imported, their classes can be named by short names
from velm_lightning.data import MultimodalData, PretrainedTokenizer, Tokenizing, TrainedTokenizer
from velm_lightning.fusion import Fusion
from velm_lightning.recipe import Recorded, find
from velm_lightning.tracking.callbacks import Progress, RunRecord, TrainLog, print_scores
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.pictures import PictureTable
from velm_lightning.tracking.run import Run, write_whole
from velm_lightning.tracking.settings import Tracking, say_offline
from velm_lightning.types import Dataset, InputError

# Said by libraries to each other, or about what is so by intent; a user can do nothing about them.
QUIET = (
    r".*isinstance\(treespec, LeafSpec\)",
    r".*does not have many workers",
    r".*is smaller than the logging interval",
    r".*Found .* module\(s\) in eval mode",
)


def quiet() -> None:
    """Leave out what a user can do nothing about."""
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)


class Parser(LightningArgumentParser):
    """Lightning's parser, which refuses with one message and the nearest right spelling rather than the whole usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong as an ``InputError``."""
        known = {option.lstrip("-") for action in self._actions for option in action.option_strings}
        known |= {kind.__name__ for kind in _kinds(Recorded) | _kinds(Dataset) | _kinds(Tokenizing)}
        words = re.findall(r"[A-Za-z_][\w.]{3,}", message)
        near = {word: match for word in words if word not in known for match in get_close_matches(word, known, 1, 0.8)}
        hints = "".join(f"\ndid you mean {match!r} instead of {word!r}?" for word, match in near.items())
        raise InputError(f"{message.strip()}{hints}")


def _kinds(base: type) -> set[type[Any]]:
    kinds: set[type[Any]] = {base}
    derived: type[Any]
    for derived in base.__subclasses__():
        kinds |= _kinds(derived)
    return kinds


class VelmCLI(LightningCLI):
    """``fit``, ``validate``, ``test`` and ``predict`` for any fusion on the one data module."""

    run: Run

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add tracking, checkpoints and early stopping; let data, model and seed know of each other."""
        parser.add_class_arguments(Tracking, "tracking", instantiate=True)
        parser.add_argument("--test_after_fit", type=bool, default=True, help="evaluate the best checkpoint in the end")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/score",
                "checkpoint.mode": "max",
                "checkpoint.filename": "best",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.save_last": True,
                "checkpoint.enable_version_counter": False,
                "early_stopping.monitor": "val/score",
                "early_stopping.mode": "max",
                "early_stopping.patience": 10,
            }
        )
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.link_arguments("data.vocabulary", "model.init_args.vocabulary", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Let the data use the tokeniser of a pretrained text encoder, which would not know the words of another."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        encoder, chosen = config.model.init_args.get("text_encoder"), config.data.get("tokenizer")
        if encoder is None or (chosen is not None and find(chosen.class_path) is not TrainedTokenizer):
            return
        argument = find(encoder.class_path).own_tokenizer
        name = encoder.init_args.get(argument) if argument else None
        if name:
            kind = f"{PretrainedTokenizer.__module__}.{PretrainedTokenizer.__name__}"
            config.data.tokenizer = dict_to_namespace({"class_path": kind, "init_args": {"name": name}})

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer around the folder of this run."""
        settings: Tracking = self._get(self.config_init, "tracking")
        self.run = self._open_run(settings)
        log = TrainLog()
        callbacks = list(self._get(self.config_init, "trainer.callbacks", default=None) or [])
        callbacks += [log, RunRecord(self.run, log), PictureTable(settings.pictures)]
        if self._get(self.config_init, "trainer.enable_progress_bar") is not False:
            callbacks.append(Progress(log))
        trainer = super().instantiate_trainer(callbacks=callbacks, logger=self._loggers(settings), **kwargs)
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(self.run.folder / "checkpoints")
        return trainer

    def _open_run(self, settings: Tracking) -> Run:
        """Return the run of the checkpoint that is evaluated or gone on with, or a new one."""
        checkpoint = self._get(self.config, "ckpt_path", default=None)
        if checkpoint:
            if not Path(checkpoint).is_file() and checkpoint not in ("best", "last", "hpc", "registry"):
                raise InputError(f"--ckpt_path {checkpoint} does not exist")
            found = Run.of_checkpoint(Path(checkpoint))
            if found is not None:
                return found
        name = f"{type(self.model).__name__.lower()}-s{self._get(self.config, 'seed_everything')}"
        return Run.create(settings.runs, settings.experiment, name)

    def _loggers(self, settings: Tracking) -> list[Logger]:
        """Return the loggers: the metrics file, W&B, and what the config adds."""
        loggers: list[Logger] = [MetricsFile(self.run.folder / "metrics.csv")] if self.subcommand == "fit" else []
        if self.subcommand in ("fit", "test", "validate"):
            wandb = settings.wandb_logger(self.run, _plain(self.config[self.subcommand]))
            loggers += [wandb] if wandb else []
            if wandb and not settings.online:
                say_offline(self.run)
        added = self._get(self.config_init, "trainer.logger", default=None)
        return loggers + (added if isinstance(added, list) else [added] if isinstance(added, Logger) else [])

    def after_fit(self) -> None:
        """Evaluate the best checkpoint, so that a run ends with its figures."""
        if not self._get(self.config, "test_after_fit") or getattr(self.trainer, "fast_dev_run", False):
            return
        best = self.trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
        if best and not self.trainer.interrupted:
            self.trainer.validate(ckpt_path=best, datamodule=self.datamodule, verbose=False)
            if self.datamodule.has("test"):
                self.trainer.test(ckpt_path=best, datamodule=self.datamodule, verbose=False)
        self._show()

    def after_validate(self) -> None:
        """Show the figures."""
        self._show()

    def after_test(self) -> None:
        """Show the figures."""
        self._show()

    def after_predict(self) -> None:
        """Say where the predictions are."""
        if self.trainer.is_global_zero:
            print(f"predictions: {self.run.folder / 'predictions' / 'predict.jsonl'}")

    def _show(self) -> None:
        if self.trainer.is_global_zero and self.run.record.get("scores"):
            print_scores(self.run)
            print(f"run: {self.run.folder}")


class SaveConfig(SaveConfigCallback):
    """Writes the complete config into the run's folder, where ``velm fit --config`` repeats the run from it."""

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Write ``config.yaml`` and the tokeniser."""
        if stage != "fit":
            return
        record = next(c for c in trainer.callbacks if isinstance(c, RunRecord))  # type: ignore[attr-defined]
        text = self.parser.dump(self.config, skip_none=False, skip_check=True)
        write_whole(record.run.folder / "config.yaml", text)
        write_whole(record.run.folder / "tokenizer" / "tokenizer.json", pl_module.vocabulary.tokenizer.to_str())


def _plain(config: Any) -> dict[str, Any]:
    found = config.as_dict() if hasattr(config, "as_dict") else dict(config)
    return {key: value for key, value in found.items() if key not in ("config", "subcommand")}


def main(arguments: Sequence[str]) -> int:
    """Run one of Lightning's subcommands."""
    quiet()
    VelmCLI(
        Fusion,
        MultimodalData,
        subclass_mode_model=True,
        save_config_callback=SaveConfig,
        save_config_kwargs={"save_to_log_dir": False},
        trainer_defaults={
            "use_distributed_sampler": False,  # the data module's own samplers place every rank
            "num_sanity_val_steps": 0,
            "gradient_clip_val": 1.0,
            "enable_autolog_hparams": False,  # the config goes to W&B once, as it was written
        },
        seed_everything_default=0,
        auto_configure_optimizers=False,
        parser_class=Parser,
        args=None if list(arguments) == sys.argv[1:] else list(arguments),
    )
    return 0

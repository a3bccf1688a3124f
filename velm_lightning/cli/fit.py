"""``velm fit``, ``validate``, ``test`` and ``predict``: Lightning's command line with a folder per run."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

import velm_lightning.encoders
import velm_lightning.fusion
import velm_lightning.tasks
import velm_lightning.tasks.scene_judge
import velm_lightning.training  # noqa: F401 - imported, their classes can be named by short names
from velm_lightning.cli.parsing.parser import Parser
from velm_lightning.cli.parsing.run_options import DEFAULTS, add_run_options
from velm_lightning.cli.parsing.saved_config import SaveConfig, config_text
from velm_lightning.cli.start.faults import one_sentence, refused_by_lightning
from velm_lightning.data import MultimodalData, PretrainedTokenizer, TrainedTokenizer
from velm_lightning.fusion import Fusion
from velm_lightning.io.allow.resolve import resolve
from velm_lightning.io.console import command, echo
from velm_lightning.io.files import show
from velm_lightning.io.paths import expand_home, user_path
from velm_lightning.nn.size_limit import machine_memory, size_limit
from velm_lightning.tracking.callbacks.data_summary import DataSummary
from velm_lightning.tracking.callbacks.epoch_lines import EpochLines
from velm_lightning.tracking.callbacks.gallery import Gallery
from velm_lightning.tracking.callbacks.limits import Limits
from velm_lightning.tracking.callbacks.non_finite import NonFiniteLossGuard
from velm_lightning.tracking.callbacks.thumbnails import Thumbnails
from velm_lightning.tracking.callbacks.train_log import Progress, TrainLog
from velm_lightning.tracking.checkpoint_files import AtomicCheckpointIO, LastCheckpoint, newest_usable
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.quiet import quiet
from velm_lightning.tracking.record import RunRecord
from velm_lightning.tracking.resuming import Resuming
from velm_lightning.tracking.run import Run, now
from velm_lightning.tracking.scores import print_scores
from velm_lightning.tracking.settings import Tracking, close_wandb, say_offline
from velm_lightning.tracking.shutdown import Interrupted, PeerWatchdog, Signals, leave, stop_message
from velm_lightning.tracking.sweep_trial import SweepTrial
from velm_lightning.types import InputError


class VelmCLI(LightningCLI):
    """``fit``, ``validate``, ``test`` and ``predict`` for any fusion, on one data module."""

    run: Run

    def __init__(self, *, args: list[str], **settings: Any) -> None:
        self._words = args
        settings |= {"subclass_mode_model": True, "seed_everything_default": 0, "auto_configure_optimizers": False}
        super().__init__(Fusion, MultimodalData, parser_class=Parser, args=args, **settings)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Leave the parsers of other commands empty: to fill all four takes longer than to parse."""
        if subcommand in self._words:
            return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        return self.init_parser(**kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add tracking, checkpoints and early stopping, and link data, model and seed."""
        expand_home()
        parser.add_class_arguments(Tracking, "tracking", instantiate=True)
        add_run_options(parser)
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults(DEFAULTS)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.link_arguments("data.vocabulary", "model.init_args.vocabulary", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Keep the config as given: a checkpoint's values would silently replace the user's."""

    def _set_seed(self) -> None:
        """Report a seed that numpy does not take as the input's fault."""
        try:
            super()._set_seed()
        except ValueError as error:
            raise InputError(f"seed_everything: {error}: choose another number") from error

    def before_instantiate_classes(self) -> None:
        """Give the data the tokeniser of a pretrained text encoder, the only one whose ids fit its embeddings."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        encoder, chosen = config.model.init_args.get("text_encoder"), config.data.get("tokenizer")
        if encoder is None or (chosen is not None and resolve(chosen.class_path) is not TrainedTokenizer):
            return
        argument = resolve(encoder.class_path).tokenizer_argument
        name = encoder.init_args.get(argument) if argument else None
        if name:
            kind = f"{PretrainedTokenizer.__module__}.{PretrainedTokenizer.__name__}"
            tokenizer: Any = Namespace(class_path=kind, init_args=Namespace(name=name))  # type: ignore[no-untyped-call]
            config.data.tokenizer = tokenizer

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer around the folder of this run."""
        settings: Tracking = self._get(self.config_init, "tracking")
        folder = self.run.folder / "checkpoints"
        given = self._get(self.config_init, "trainer")
        log = TrainLog()
        self.last = LastCheckpoint(folder / "last.ckpt", self._get(self.config, "save_every_n_steps"))
        self.signals, self.watchdog = Signals(self.last, self._stopped_at_once), PeerWatchdog(self._peer_died)
        self.record = RunRecord(self.run, log)
        text = config_text(self._parser(self.subcommand), self.config[self.subcommand])
        resuming = Resuming(text, self.run.folder / "config.yaml", self._get(self.config, "resume_schedule"))
        callbacks = [*(given.callbacks or []), log, resuming, self.record, DataSummary(self.run), Limits(self.run)]
        callbacks += [Gallery(self.run, settings.pictures), Thumbnails(self.run, settings.thumbnails)]
        callbacks += SweepTrial.of_environment(self.run)
        callbacks += [self.signals, self.watchdog, NonFiniteLossGuard(self._get(self.config, "on_nan"))]
        callbacks.append(EpochLines(log))
        bar = given.enable_progress_bar is not False and sys.stdout.isatty()  # in a file it would leave fragments
        callbacks += [Progress(log)] if bar else []
        kwargs |= {"callbacks": callbacks, "logger": self._loggers(settings), "enable_progress_bar": bar}
        kwargs["plugins"] = [*_listed(given.plugins), AtomicCheckpointIO()]
        kwargs["default_root_dir"] = given.default_root_dir or self.run.folder  # where SLURM's checkpoints go
        trainer = super().instantiate_trainer(**kwargs)
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = os.path.realpath(folder)
        return trainer

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Put the last-checkpoint callback last, so that it saves the updated states of the others."""
        return super()._instantiate_trainer(config, [*callbacks, self.last])

    def instantiate_classes(self) -> None:
        """Build all parts; an evaluation uses the vocabulary and answers of its checkpoint."""
        config = self.config[self.subcommand]
        self.run = self._open_run(config)
        if self.subcommand != "fit" and config.ckpt_path and Path(config.ckpt_path).is_file():
            config.data.vocabulary_from = Path(config.ckpt_path)
        with one_sentence(), size_limit(machine_memory(), "the memory of this machine"):
            super().instantiate_classes()

    def _open_run(self, config: Any) -> Run:
        """Return the run to evaluate or resume, or a new one, and set its checkpoint in ``config``.

        Raises:
            InputError: If there is no such checkpoint.
        """
        if config.ckpt_path:
            config.ckpt_path = str(user_path(str(config.ckpt_path)))
        launched = Run.of_launcher()
        configs = [Path(str(path)) for path in config.get("config") or []]
        configured = next((run for path in reversed(configs) if (run := Run.of_config(path))), None)
        requeued = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        if self.subcommand == "fit" and not config.ckpt_path and (config.resume == "auto" or requeued):
            text = config_text(self._parser(self.subcommand), config)
            runs, experiment = Path(str(config.tracking.runs)), config.tracking.experiment
            run = configured or launched or Run.unfinished(runs, experiment, text)
            config.ckpt_path = newest_usable(run.folder) if run else None
            if run and (config.ckpt_path or run.record.get("status") != "finished"):
                return run
            return self._new_run(config)
        if config.ckpt_path in ("best", "last"):
            run = configured or self._new_run(config)
            config.ckpt_path = str(run.folder / "checkpoints" / f"{config.ckpt_path}.ckpt")
        if config.ckpt_path and config.ckpt_path not in ("hpc", "registry"):
            if not Path(config.ckpt_path).is_file():
                raise InputError(
                    f"--ckpt_path {config.ckpt_path} does not exist: name a file, or `last` together with "
                    "`--config` of a run's own config.yaml"
                )
            run = Run.of_checkpoint(Path(config.ckpt_path))
            if run is not None:
                return run
        return launched or self._new_run(config)

    def _new_run(self, config: Any) -> Run:
        model = str(config.model.class_path).rpartition(".")[2].lower()
        tracking = config.tracking
        return Run.create(Path(str(tracking.runs)), tracking.experiment, f"{model}-s{config.seed_everything}")

    def _loggers(self, settings: Tracking) -> list[Logger]:
        """Return the loggers: the metrics file, W&B, and those of the config."""
        loggers: list[Logger] = [MetricsFile(self.run.folder / "metrics.csv")] if self.subcommand == "fit" else []
        if self.subcommand in ("fit", "test", "validate"):
            wandb = settings.wandb_logger(self.run, _plain(self.config[self.subcommand]))
            loggers += [wandb] if wandb else []
            if wandb and not settings.online:
                say_offline(self.run)
        added = self._get(self.config_init, "trainer.logger", default=None)
        return loggers + (added if isinstance(added, list) else [added] if isinstance(added, Logger) else [])

    def _run_subcommand(self, subcommand: str) -> None:
        """Run a subcommand and stop all processes of the run when it ends, also by an error."""
        try:
            with self.run.handed_down():
                super()._run_subcommand(subcommand)
        except BaseException as error:
            if self.trainer.world_size > 1:
                leave(error, self.trainer)
            raise
        finally:
            close_wandb(self.run)
            self.watchdog.stop()
            self.signals.restore()
            self.run.release()

    def _stopped_at_once(self) -> None:
        self.run.mark("interrupted")

    def _peer_died(self, who: str) -> None:
        if Run(self.run.folder).record.get("status") == "running":
            self.run.mark("failed")
        echo(f"velm: error: {who} died: this process exits, too", file=sys.stderr, flush=True)

    def after_fit(self) -> None:
        """Evaluate the best checkpoint, or the last if none was evaluated yet."""
        best = self.trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
        if not best and self.last.path.is_file():
            best = str(self.last.path)
        if self.run.record.get("status") == "pruned":
            return
        if best and self._get(self.config, "test_after_fit") and not getattr(self.trainer, "fast_dev_run", False):
            if self.trainer.is_global_zero:
                self.run.update(checkpoint=Path(best).name)
            self.trainer.validate(ckpt_path=best, datamodule=self.datamodule, verbose=False)
            if self.datamodule.has("test"):
                self.trainer.test(ckpt_path=best, datamodule=self.datamodule, verbose=False)
            self._show()
        if self.trainer.is_global_zero:
            self.run.update(status="finished", ended=now())

    def after_validate(self) -> None:
        """Print the scores."""
        self._show()

    def after_test(self) -> None:
        """Print the scores."""
        self._show()

    def after_predict(self) -> None:
        """Print the first predictions and the path of all."""
        if self.trainer.is_global_zero:
            for row in self.record.predicted[:_SHOWN]:
                echo(f"  {row.key}: {show(row.prediction)}")
            echo(f"predictions: {self.record.predictions}")

    def _show(self) -> None:
        if self.trainer.is_global_zero and self.run.record.get("scores"):
            print_scores(self.run, self.run.names.values())
            echo(f"run: {self.run.folder}")
            if self.subcommand == "fit":
                echo("\n".join(next_steps(self.run)))


_SHOWN = 5
"""Number of predictions that ``velm predict`` prints; the others are in the file."""


def next_steps(run: Run) -> list[str]:
    """Return lines with the files that a finished run has left, and three commands to go on with."""
    split = "test" if "test" in run.record.get("scores", {}) else "val"
    kept = {"best checkpoint": "checkpoints/best.ckpt", "gallery": f"gallery/{split}.png"}
    lines = [f"{name}: {run.folder / file}" for name, file in kept.items() if (run.folder / file).is_file()]
    sample = ["--random"] if split == "test" else ["--random", "--split", split]
    commands = [["ask", run.folder, *sample], ["probe", run.folder], ["compare", run.folder.parent]]
    return [*lines, "next:", *(f"  {command('velm', *words)}" for words in commands)]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _plain(config: Any) -> dict[str, Any]:
    values = config.as_dict() if hasattr(config, "as_dict") else dict(config)
    return {key: value for key, value in values.items() if key not in ("config", "subcommand")}


def main(arguments: Sequence[str]) -> int:
    """Run one of Lightning's subcommands; the exit code of a run stopped by a signal is 128 + the signal."""
    quiet()
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    try:
        _start(arguments)
    except Interrupted as interrupt:
        echo(stop_message(interrupt), file=sys.stderr)
        return 128 + interrupt.signum
    except KeyboardInterrupt:
        echo("velm: stopped by SIGINT", file=sys.stderr)
        return 130
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        if not isinstance(error, MisconfigurationException) and not refused_by_lightning(error):
            raise
        raise InputError(" ".join(str(error).split())) from error
    return 0


def _start(arguments: Sequence[str]) -> None:
    VelmCLI(
        save_config_callback=SaveConfig,
        trainer_defaults={
            "use_distributed_sampler": False,  # the data module's own samplers place every rank
            "num_sanity_val_steps": 0,
            "gradient_clip_val": 1.0,
            "enable_autolog_hparams": False,  # the config goes to W&B once, as it was written
            "enable_model_summary": False,  # RunRecord prints a line; the table needs more than 80 columns
        },
        args=list(arguments),
    )

"""Training from Python: one call that trains, evaluates and leaves a run folder, as ``velm fit`` does."""

from __future__ import annotations

import logging
import random
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from velm_lightning.data import MultimodalData
from velm_lightning.errors import expect
from velm_lightning.fusion import Fusion
from velm_lightning.io.allocator import reuse_memory
from velm_lightning.io.console import log_to_console
from velm_lightning.tracking.callbacks.epoch_lines import EpochLines
from velm_lightning.tracking.callbacks.non_finite import NonFiniteLossGuard
from velm_lightning.tracking.callbacks.train_log import Progress
from velm_lightning.tracking.checkpoint_files import LastCheckpoint
from velm_lightning.tracking.from_python.recorder import RunRecorder
from velm_lightning.tracking.from_python.resume import resume_run
from velm_lightning.tracking.from_python.trainer_arguments import TrainerArguments, complete
from velm_lightning.tracking.quiet import quiet
from velm_lightning.tracking.resuming import Choice
from velm_lightning.tracking.run import Run, now
from velm_lightning.tracking.scores import print_scores
from velm_lightning.tracking.shutdown import Interrupted, Signals

_log = logging.getLogger(__name__)


def fit(
    model: Fusion,
    data: MultimodalData,
    *,
    experiment: str = "python",
    runs: str | Path = "runs",
    seed: int | None = None,
    resume: str | Path | Run | None = None,
    resume_schedule: Choice | None = None,
    patience: int = 10,
    pictures: int = 32,
    thumbnails: int = 200,
    callbacks: Sequence[Callback] = (),
    logger: Logger | Sequence[Logger] = (),
    **trainer_arguments: Unpack[TrainerArguments],
) -> Run:
    """Train a model, evaluate its best checkpoint on the validation and test split, and return the run.

    The run has a folder ``runs/EXPERIMENT/ID`` as on the command line, with ``config.yaml``, ``run.json``,
    ``metrics.csv``, predictions, gallery and checkpoints. Afterwards ``model`` has the weights that were evaluated.
    For full control use a ``lightning.Trainer`` with the callback ``RunRecorder``.

    Args:
        model: The fusion.
        data: The data. Without a validation split the last checkpoint is evaluated.
        experiment: Name of the experiment, which is the folder under ``runs``.
        runs: Folder of all runs.
        seed: Seed of the training order, augmentation and dropout. None means the seed of ``data``. The initial weights
            of ``model`` depend on the seed that was set before it was created.
        resume: The run to continue from its newest checkpoint, on CPU with the same losses as without a break: a run,
            its folder or id, ``latest``, or a checkpoint; ``auto`` means the newest unfinished run of the experiment
            with the same settings, or a new run if there is none. None means a new run.
        resume_schedule: The learning rate of a resumed run with another number of steps: ``stretch`` follows the
            schedule of the new number, ``continue`` decays from the current rate to 0.
        patience: Number of evaluations without a better validation score after which the training stops.
        pictures: Number of samples in the gallery of an evaluation.
        thumbnails: Number of small images that are stored for reports.
        callbacks: Further callbacks.
        logger: Further loggers of Lightning, such as ``WandbLogger``.
        trainer_arguments: Arguments of ``lightning.Trainer``, such as ``max_epochs`` or ``accelerator``.

    Returns:
        The run, with ``scores``, ``best`` and ``folder``.

    Raises:
        InputError: The model and the data do not fit, there is no such run to resume, or a file cannot be read or
            written.
        KeyboardInterrupt: Ctrl-C, or a notebook's stop button, has stopped the run after a batch. Its status is
            ``interrupted``, and ``resume="latest"`` continues it. A second Ctrl-C does not wait for the batch.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(dim=8),
        ...                         task=velm.Classification(), vocabulary=data.vocabulary)
        >>> run = velm.fit(model, data, max_epochs=1, accelerator="cpu", enable_progress_bar=False)
        >>> sorted(run.scores)
        ['test', 'val']
        >>> run.best.name
        'best.ckpt'
    """
    expect(model, Fusion, "model", "velm.fit takes a model, then its data")
    expect(data, MultimodalData, "data", "give velm.MultimodalData(…) or velm.MultimodalData.from_rows(…)")
    log_to_console()
    if seed is not None:
        data.seed = seed
    seed_all(data.seed)
    launched = Run.of_launcher()
    run = launched or Run.create(Path(runs), experiment, f"{type(model).__name__.lower()}-s{data.seed}")
    recorder = RunRecorder(experiment, runs, pictures, thumbnails, resume_schedule)
    recorder.run, recorder.finishes = run, False
    last = LastCheckpoint(run.folder / "checkpoints" / "last.ckpt")
    signals = Signals(last)
    parts = [*callbacks, recorder, signals, NonFiniteLossGuard("stop"), EpochLines(recorder.train_log)]
    if trainer_arguments.get("enable_progress_bar") is not False:
        parts.append(Progress(recorder.train_log))
    parts += _choosing(data, patience)
    loggers = [logger] if isinstance(logger, Logger) else list(logger)
    with warnings.catch_warnings():
        quiet()
        reuse_memory()
        trainer = Trainer(callbacks=[*parts, last], logger=loggers or False, **complete(trainer_arguments, run, data))
        checkpoint = None
        if resume is not None:
            checkpoint = resume_run(resume, run, launched, runs, recorder.config_of(trainer, model, data))
            last.path = run.folder / "checkpoints" / "last.ckpt"
        with run.handed_down(), _interruptible(signals, run):
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint)
            _evaluate(trainer, data, run, last)
            if trainer.is_global_zero:
                run.update(status="finished", ended=now())
    return run


@contextmanager
def _interruptible(signals: Signals, run: Run) -> Iterator[None]:
    """Raise what Python raises on a signal after the run has stopped, and release the run in any case."""
    try:
        yield
    except Interrupted as stop:
        if stop.signum == signal.SIGINT:
            raise KeyboardInterrupt(f"velm.fit(…, resume={str(run.folder)!r}) continues the run") from None
        raise SystemExit(128 + stop.signum) from None
    finally:
        signals.restore()
        run.release()


def seed_all(seed: int) -> None:
    """Seed the random number generators of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _choosing(data: MultimodalData, patience: int) -> list[Callback]:
    """Return the callbacks that keep the best checkpoint and stop early; none without a validation split."""
    if not data.has("val"):
        return []
    best = ModelCheckpoint(
        monitor="val/score",
        mode="max",
        filename="best",
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )
    return [best, EarlyStopping("val/score", mode="max", patience=patience, check_on_train_epoch_end=False)]


def _evaluate(trainer: Trainer, data: MultimodalData, run: Run, last: LastCheckpoint) -> None:
    """Evaluate the best checkpoint, or the last if none was evaluated yet, and print the scores."""
    path = str(getattr(trainer.checkpoint_callback, "best_model_path", "")) or (
        str(last.path) if last.path.is_file() else ""
    )
    if not path or getattr(trainer, "fast_dev_run", False):
        return
    if trainer.is_global_zero:
        run.update(checkpoint=Path(path).name)
    if data.has("val"):
        trainer.validate(ckpt_path=path, datamodule=data, verbose=False)
    if data.has("test"):
        trainer.test(ckpt_path=path, datamodule=data, verbose=False)
    if trainer.is_global_zero and run.record.get("scores"):
        print_scores(run, run.names.values())
        _log.info("run: %s", run.folder)

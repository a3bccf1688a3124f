"""Training from Python: one call that trains, evaluates and leaves a run folder, as ``velm fit`` does."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from velm_lightning.data import MultimodalData
from velm_lightning.fusion import Fusion
from velm_lightning.tracking.checkpoint_files import AtomicCheckpointIO, LastCheckpoint
from velm_lightning.tracking.from_python.recorder import RunRecorder
from velm_lightning.tracking.non_finite import NonFiniteLossGuard
from velm_lightning.tracking.quiet import quiet
from velm_lightning.tracking.run import Run, now
from velm_lightning.tracking.scores import print_scores
from velm_lightning.tracking.train_log import Progress


class TrainerArguments(TypedDict, total=False):
    """Arguments of ``lightning.Trainer`` that ``fit`` passes on."""

    accelerator: str
    strategy: Any
    devices: list[int] | str | int
    num_nodes: int
    precision: Any
    fast_dev_run: int | bool
    max_epochs: int | None
    min_epochs: int | None
    max_steps: int
    min_steps: int | None
    max_time: Any
    limit_train_batches: int | float | None
    limit_val_batches: int | float | None
    limit_test_batches: int | float | None
    overfit_batches: int | float
    val_check_interval: int | float | None
    check_val_every_n_epoch: int | None
    log_every_n_steps: int | None
    enable_progress_bar: bool | None
    enable_model_summary: bool | None
    accumulate_grad_batches: int
    gradient_clip_val: int | float | None
    gradient_clip_algorithm: str | None
    deterministic: Any
    benchmark: bool | None
    detect_anomaly: bool
    profiler: Any
    plugins: Any


DEFAULTS: dict[str, Any] = {
    "use_distributed_sampler": False,  # the data module's own samplers place every process
    "num_sanity_val_steps": 0,
    "gradient_clip_val": 1.0,
    "enable_model_summary": False,
}


def fit(
    model: Fusion,
    data: MultimodalData,
    *,
    experiment: str = "python",
    runs: str | Path = "runs",
    seed: int | None = None,
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
        patience: Number of evaluations without a better validation score after which the training stops.
        pictures: Number of samples in the gallery of an evaluation.
        thumbnails: Number of small images that are stored for reports.
        callbacks: Further callbacks.
        logger: Further loggers of Lightning, such as ``WandbLogger``.
        trainer_arguments: Arguments of ``lightning.Trainer``, such as ``max_epochs`` or ``accelerator``.

    Returns:
        The run, with ``scores``, ``best`` and ``folder``.

    Raises:
        InputError: The model and the data do not fit, or a file cannot be read or written.

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
    if seed is not None:
        data.seed = seed
    seed_all(data.seed)
    run = Run.of_launcher() or Run.create(Path(runs), experiment, f"{type(model).__name__.lower()}-s{data.seed}")
    recorder = RunRecorder(experiment, runs, pictures, thumbnails)
    recorder.run, recorder.finishes = run, False
    parts = [*callbacks, recorder, NonFiniteLossGuard("stop")]
    if trainer_arguments.get("enable_progress_bar") is not False:
        parts.append(Progress(recorder.train_log))
    parts += _choosing(run, data, patience)
    last = LastCheckpoint(run.folder / "checkpoints" / "last.ckpt")
    loggers = [logger] if isinstance(logger, Logger) else list(logger)
    with warnings.catch_warnings(), run.handed_down():
        quiet()
        trainer = Trainer(callbacks=[*parts, last], logger=loggers or False, **_arguments(run, data, trainer_arguments))
        try:
            trainer.fit(model, datamodule=data)
            _evaluate(trainer, data, run, last)
            if trainer.is_global_zero:
                run.update(status="finished", ended=now())
        finally:
            run.release()
    return run


def seed_all(seed: int) -> None:
    """Seed the random number generators of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _choosing(run: Run, data: MultimodalData, patience: int) -> list[Callback]:
    """Return the callbacks that keep the best checkpoint and stop early; none without a validation split."""
    if not data.has("val"):
        return []
    best = ModelCheckpoint(
        dirpath=run.folder.absolute() / "checkpoints",
        monitor="val/score",
        mode="max",
        filename="best",
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )
    return [best, EarlyStopping("val/score", mode="max", patience=patience, check_on_train_epoch_end=False)]


def _arguments(run: Run, data: MultimodalData, given: TrainerArguments) -> dict[str, Any]:
    """Return the arguments of the trainer: those given, over the defaults."""
    arguments = DEFAULTS | {"default_root_dir": run.folder} | given
    plugins = arguments.get("plugins") or []
    arguments["plugins"] = [*(plugins if isinstance(plugins, list | tuple) else [plugins]), AtomicCheckpointIO()]
    if not data.has("val"):
        arguments["limit_val_batches"] = 0
    return arguments


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
        print(f"run: {run.folder}")

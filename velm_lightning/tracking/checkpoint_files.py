"""Checkpoints from which a run resumes bitwise: atomic writes, random states, and an up-to-date ``last.ckpt``."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, Timer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from velm_lightning.checkpoints import checkpoint as safe
from velm_lightning.io.atomic import replacing
from velm_lightning.tasks.rows import all_gather_objects
from velm_lightning.tracking.loops import resumable, set_position
from velm_lightning.tracking.restoring import name_refusals, refused_by_name
from velm_lightning.types import InputError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, reads them without executing code from them, and removes nothing else."""

    @cached_property
    def _written(self) -> set[str]:
        """The folders of the checkpoints that were written."""
        return set()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint to a temporary file next to ``path``, then rename it.

        Raises:
            InputError: the file cannot be written; an earlier file of that name stays intact.
        """
        self._written.add(os.path.realpath(os.path.dirname(path)))
        with replacing(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch hides the reason of a failed write behind it
                reason = error.__cause__ or error.__context__
                raise reason if isinstance(reason, OSError) else error from None

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of this package with ``checkpoint.read``."""
        return safe.read(Path(path), map_location)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint of a folder that this object writes to; any other path is left alone.

        Lightning takes the path from the checkpoint that a run resumes from, and would remove whole folders.
        """
        whole = os.path.realpath(path)
        if os.path.dirname(whole) in self._written and whole.endswith(".ckpt") and os.path.isfile(whole):
            os.unlink(path)


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` after every epoch and every N steps, with the random states of all processes.

    A run that resumes from any checkpoint written while this callback is active computes the same as an uninterrupted
    run.

    Args:
        path: path of ``last.ckpt``.
        every_n_steps: number of optimiser steps between two writes within an epoch; 0 writes only at the end of epochs.
    """

    def __init__(self, path: Path, every_n_steps: int = 0) -> None:
        self.path, self.every_n_steps = path, every_n_steps
        self.saved = -1
        self._states: list[dict[str, Any]] = []
        self._before_step: tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, Any]] = ({}, {}, {})

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Use the path of rank 0 on all ranks, and loops that can be restored."""
        self.path = Path(trainer.strategy.broadcast(str(self.path)))
        resumable(trainer)
        name_refusals(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep what micro-batches change before the end of an optimiser step: random states, buffers and time."""
        if trainer.accumulate_grad_batches > 1 and batch_idx % trainer.accumulate_grad_batches == 0:
            buffers = {name: value.clone() for name, value in pl_module.named_buffers()}
            times = {timer.state_key: timer.state_dict() for timer in _timers(trainer)}
            self._before_step = random_state(), buffers, times

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Write ``last.ckpt`` every N steps if another training batch follows."""
        if self._due(trainer) and more_follow(trainer):
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``last.ckpt`` every N steps if an evaluation follows the batch."""
        if trainer.state.fn == "fit" and self._due(trainer):
            self.save(trainer)

    def _due(self, trainer: Trainer) -> bool:
        return bool(self.every_n_steps and trainer.global_step and trainer.global_step % self.every_n_steps == 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``last.ckpt`` at the end of an epoch, after its evaluation."""
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write ``last.ckpt`` unless it already holds this step; all processes must call this."""
        if trainer.global_step != self.saved and not getattr(trainer, "fast_dev_run", False):
            trainer.save_checkpoint(self.path, weights_only=False)
            self.saved = trainer.global_step

    # The following hooks act on every checkpoint, not only on last.ckpt.

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the position of the run, the random states of all processes, and whether early stopping has ended it.

        Within an optimiser step of several micro-batches, position, random states, buffers and the time that counts for
        ``max_time`` are those at its start, because a resumed run repeats the step.
        """
        loop = resumable(trainer)
        epochs, progress = trainer.fit_loop.epoch_progress.current, loop.batch_progress.current
        batches = progress.processed if epochs.processed < epochs.started else 0  # type: ignore[attr-defined]
        within_step = bool(batches) and loop.within_step
        batches -= batches % trainer.accumulate_grad_batches if within_step else 0
        evaluation: Any = loop.val_loop.batch_progress
        if trainer.validating:
            pending = not (evaluation.is_last_batch and evaluation.current.completed == evaluation.current.ready)
        else:
            pending = bool(batches) and progress.processed == progress.ready and loop.evaluation_due  # type: ignore[attr-defined]
        set_position(checkpoint["loops"]["fit_loop"], epochs.processed, batches, pending)  # type: ignore[attr-defined]
        data: Any = checkpoint.get(type(getattr(trainer, "datamodule", None)).__qualname__, {})
        data.update({"epoch": epochs.processed, "batches": batches} if data else {})  # type: ignore[attr-defined]
        random, buffers, times = self._before_step if within_step else (random_state(), {}, {})
        weights = checkpoint["state_dict"]
        weights.update({name: value for name, value in buffers.items() if name in weights})
        checkpoint.setdefault("callbacks", {}).update(times)
        checkpoint["velm_random"] = all_gather_objects(random)
        checkpoint["velm_should_stop"] = bool(trainer.should_stop) and not _out_of_time(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the random states for the start of training, and update the paths of checkpoints if the run moved."""
        self._states = checkpoint.get("velm_random", [])
        here = os.path.realpath(self.path.parent)
        loaded = os.path.realpath(os.path.dirname(str(trainer.ckpt_path)))
        for callback in trainer.checkpoint_callbacks if loaded in (here, os.path.dirname(here)) else ():
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and state and callback.dirpath == here:
                move(state, here)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the random states of the checkpoint."""
        if trainer.global_rank < len(self._states):
            with refused_by_name(trainer):
                restore_random_state(self._states[trainer.global_rank])
        self._states = []


def more_follow(trainer: Trainer) -> bool:
    """Return whether another optimiser step comes next, rather than an evaluation or the end of the epoch.

    Within an optimiser step of several micro-batches, the rest of the step comes next.
    """
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    if loop._should_accumulate() or loop.batch_progress.is_last_batch or loop.done:
        return False
    return not (fetcher and loop._should_check_val_fx(fetcher))


def _out_of_time(trainer: Trainer) -> bool:
    """Return whether ``max_time`` has ended the training; a resumed run may have another limit."""
    left = (timer.time_remaining() for timer in _timers(trainer))  # None without a limit
    return any(seconds is not None and seconds <= 0 for seconds in left)


def _timers(trainer: Trainer) -> list[Timer]:
    """Return the callbacks that hold the time of the training."""
    return [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]


def random_state() -> dict[str, Any]:
    """Return the states of this process's random number generators in types that a safe checkpoint may hold."""
    kind, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore a state that ``random_state`` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def move(state: dict[str, Any], folder: str) -> None:
    """Point the state of a ``ModelCheckpoint`` to files in ``folder``, because the run may have been moved or renamed.

    Otherwise Lightning would discard the best score, and the next evaluation would replace the best file in any case.
    """

    def moved(path: str) -> str:
        return os.path.join(folder, os.path.basename(path)) if path else path

    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}
    state["dirpath"] = folder
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = moved(state[name])


def newest_usable(folder: Path) -> Path | None:
    """Return the checkpoint in a run's folder that is complete and has come furthest, or None.

    The times of files do not matter: copying a folder changes them.
    """
    paths = [*folder.glob("checkpoints/*.ckpt"), *folder.glob("hpc_ckpt_*.ckpt")]
    for path in sorted(paths, key=lambda path: (steps_done(path), path.name), reverse=True):
        with suppress(InputError):
            if "optimizer_states" in safe.read(path):
                return path
    return None


def steps_done(path: Path) -> tuple[int, ...]:
    """Return how many steps, epochs and batches a checkpoint has completed, and whether it has been evaluated."""
    try:
        content = safe.read(path, mmap=True)
        loops = content["loops"]["fit_loop"]
        epochs, batches = (loops[f"{name}_progress"]["current"] for name in ("epoch", "epoch_loop.batch"))
        evaluation = loops["epoch_loop.val_loop.batch_progress"]["total"]
        evaluated = evaluation["started"] == evaluation["processed"]
        return content["global_step"], epochs["processed"], batches["processed"], evaluated
    except (InputError, KeyError, TypeError):  # unusable
        return ()

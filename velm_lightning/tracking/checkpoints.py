"""Checkpoints from which a run goes on as if it had never stopped: whole files, random states, one that is fresh."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from velm_lightning.checkpoints import checkpoint as safe
from velm_lightning.io.atomic import replacing
from velm_lightning.tasks.rows import all_gather_objects
from velm_lightning.types import InputError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads one without running code from it."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a file that is whole or not there.

        Raises:
            InputError: it cannot be written; an earlier file of that name is intact.
        """
        with replacing(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # how torch says that writing has failed; the reason hangs behind it
                reason = error.__cause__ or error.__context__
                raise reason if isinstance(reason, OSError) else error from None

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file of this package; see ``checkpoint.read``."""
        return safe.read(Path(path), map_location)


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt`` fresh: after every epoch, and every so many steps; with the random states of all processes.

    A run that goes on from any checkpoint written beside this callback computes the same as if it had not stopped.

    Args:
        path: the file.
        every_n_steps: optimiser steps between two writings within an epoch; 0 writes at the ends of epochs alone.
    """

    def __init__(self, path: Path, every_n_steps: int = 0) -> None:
        self.path, self.every_n_steps = path, every_n_steps
        self.saved = -1
        self._states: list[dict[str, Any]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let all ranks write to the place of rank 0."""
        self.path = Path(trainer.strategy.broadcast(str(self.path)))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Write after so many steps."""
        if self._due(trainer) and more_follow(trainer):
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after so many steps where an evaluation comes before the next one."""
        if trainer.state.fn == "fit" and self._due(trainer):
            self.save(trainer)

    def _due(self, trainer: Trainer) -> bool:
        return bool(self.every_n_steps and trainer.global_step and trainer.global_step % self.every_n_steps == 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write at the end of the epoch, its evaluation included."""
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write the file, unless this step is in it; all processes must call it."""
        if trainer.global_step != self.saved and not getattr(trainer, "fast_dev_run", False):
            trainer.save_checkpoint(self.path, weights_only=False)
            self.saved = trainer.global_step

    # What all checkpoints hold, whoever asks for them.

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the random states of all processes, and let an evaluation that is under way be done anew."""
        checkpoint["velm_random"] = all_gather_objects(random_state())
        if trainer.validating:
            repeat_validation(checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the random states for the first step; let the best checkpoint be found where the run lies now."""
        self._states = checkpoint.get("velm_random", [])
        here = os.path.realpath(self.path.parent)
        loaded = os.path.realpath(os.path.dirname(str(trainer.ckpt_path)))
        for callback in trainer.checkpoint_callbacks if loaded in (here, os.path.dirname(here)) else ():
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and state and callback.dirpath == here:
                move(state, here)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the random numbers that would have come next."""
        if trainer.global_rank < len(self._states):
            restore_random_state(self._states[trainer.global_rank])
        self._states = []


def more_follow(trainer: Trainer) -> bool:
    """Say whether the next thing is a training batch; else it is an evaluation or the end of the epoch.

    Only there may a run be left after a batch: Lightning, going on from elsewhere, would leave the evaluation out.
    """
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    return not loop.batch_progress.is_last_batch and not (fetcher and loop._should_check_val_fx(fetcher))


def random_state() -> dict[str, Any]:
    """Return the states of this process's random number generators, as a checkpoint may hold them."""
    kind, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put the generators back into a state that ``random_state`` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def repeat_validation(loops: dict[str, Any]) -> None:
    """Mark in the state of Lightning's loops that an evaluation had begun, so that it is done from its start."""
    progress = loops["epoch_loop.val_loop.batch_progress"]
    for part, begun in (("total", 1), ("current", 0)):
        progress[part] = {"ready": begun, "started": begun, "processed": 0, "completed": 0}


def move(state: dict[str, Any], folder: str) -> None:
    """Let the state of a ``ModelCheckpoint`` name files in ``folder``: the run may have been moved or renamed since.

    Lightning would otherwise forget the best score, and the next evaluation, however bad, would replace the best file.
    """

    def moved(path: str) -> str:
        return os.path.join(folder, os.path.basename(path)) if path else path

    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}
    state["dirpath"] = folder
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = moved(state[name])


def newest_usable(folder: Path) -> Path | None:
    """Return the newest checkpoint in a run's folder that can be read whole; nothing where there is none."""
    found = [*folder.glob("checkpoints/*.ckpt"), *folder.glob("hpc_ckpt_*.ckpt")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            if "optimizer_states" in safe.read(path):
                return path
        except InputError:
            continue
    return None

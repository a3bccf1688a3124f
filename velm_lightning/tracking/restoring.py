"""Restoring the state of a run from a checkpoint: a state that does not fit ends in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from typing_extensions import override

from velm_lightning.types import InputError


class CheckpointConnector(_CheckpointConnector):
    """Lightning's, which restores optimisers, schedules, loops and callbacks from values of any type."""

    @override
    def _restore_modules_and_callbacks(self, *args: Any, **kwargs: Any) -> None:
        with refused_by_name(self.trainer):
            super()._restore_modules_and_callbacks(*args, **kwargs)

    @override
    def restore_training_state(self) -> None:
        with refused_by_name(self.trainer):
            super().restore_training_state()
            for optimizer in self.trainer.optimizers:
                _check_moments(optimizer)


@contextmanager
def refused_by_name(trainer: Trainer) -> Iterator[None]:
    """Raise an error of the state that the block restores as one sentence with the name of the checkpoint.

    Raises:
        InputError: The state has other types, keys or sizes than those that the run writes.
    """
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RuntimeError) as error:
        if trainer.ckpt_path is None:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"checkpoint {trainer.ckpt_path}: the run cannot be continued from its state ({reason:.300}): "
            "use another checkpoint, or start a new run from its weights with --model.init_from"
        ) from error


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Compare the sizes of restored moments with their parameters, as the first step would fail otherwise."""
    for parameter, state in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
            value = state.get(name, parameter)
            if isinstance(value, torch.Tensor) and value.shape != parameter.shape:
                raise ValueError(f"{name} has the shape {tuple(value.shape)}, its weights {tuple(parameter.shape)}")


def name_refusals(trainer: Trainer) -> None:
    """Let a trainer restore checkpoints by ``CheckpointConnector``."""
    trainer._checkpoint_connector.__class__ = CheckpointConnector

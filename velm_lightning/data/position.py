"""The position of a run in its training order: what a checkpoint stores, and where a resumed run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning import Trainer

from velm_lightning.data.samplers import TrainSampler
from velm_lightning.types import InputError


def position_of(trainer: Trainer, order: TrainSampler) -> dict[str, int]:
    """Return the epoch, the batches that were processed in it, and the number of samples per step."""
    loop = trainer.fit_loop
    epoch: Any = loop.epoch_progress.current
    batches: Any = loop.epoch_loop.batch_progress.current
    within = batches.processed if epoch.processed < epoch.started else 0
    return {"epoch": epoch.processed, "batches": within, "samples_a_step": order.samples_per_step}


def resumed(order: TrainSampler, position: Mapping[str, int]) -> TrainSampler:
    """Return the order, set to begin at a position; an empty one is the beginning.

    Raises:
        InputError: The position is within an epoch, and a step had another number of samples.
    """
    if position:
        before = position["samples_a_step"]
        if position["batches"] and before != order.samples_per_step:
            raise InputError(
                f"the checkpoint was written within an epoch with {before} samples per step, but a step now has "
                f"{order.samples_per_step}: keep data.batch_size x number of processes, or resume from best.ckpt"
            )
        order.resume_at(position["epoch"], position["batches"])
    return order

"""Samplers whose order is a function of (seed, epoch, position), split over ranks without repetition."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from velm_lightning.io.seeding import stable_generator
from velm_lightning.types import InputError

Place = tuple[int, int]
"""Epoch and index of a sample; a worker needs nothing else."""

SPREAD = 16
"""Minimum number of batches of an evaluation split, so that up to as many processes get one each."""


class TrainSampler(SequentialSampler):  # so that Lightning keeps it with overfit_batches
    """The training order of one rank.

    The order of an epoch is one permutation, drawn only from (seed, epoch) and cut into batches of
    ``world * batch_size``; a rank takes its slice of each. It does not depend on workers, ranks and fusions. Every
    rank has the same number of steps: an incomplete last batch is dropped, with other samples in each epoch.

    The samples of an optimiser step are therefore the same for any number of processes with the same
    ``world * batch_size``. Accumulation over ``k`` batches equals a batch ``k`` times as large, except at the end of an
    epoch: an incomplete large batch is dropped, but an incomplete accumulated step is taken.

    Args:
        count: Number of samples.
        batch_size: Samples per batch and rank; reduced if the split is smaller than one batch.
        seed: Seed of the permutations.
        rank: Rank of this process.
        world: Number of processes.
        weights: (count,) relative frequencies for drawing with replacement. None means each sample once per epoch.
        repeated: Whether every epoch has the order of the first.

    Attributes:
        start: Epoch and batch from which a resumed run continues.

    Raises:
        InputError: There are fewer samples than processes.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        weights: Tensor | None = None,
        repeated: bool = False,
    ) -> None:
        self.batch_size = _fitting("training", count, batch_size, world)
        self.count, self.seed, self.rank, self.world, self.weights = count, seed, rank, world, weights
        self.repeated = repeated
        self.steps = count // (self.batch_size * world)
        self.epoch, self.start = 0, (0, 0)

    @property
    def samples_per_step(self) -> int:
        """Number of samples of all ranks per step."""
        return self.batch_size * self.world

    @property
    def left_out(self) -> int:
        """Number of samples that an epoch drops."""
        return self.count - self.steps * self.samples_per_step

    def describe(self) -> str:
        """Return a sentence on the steps and the dropped samples of an epoch."""
        shared = f" over {self.world} processes" if self.world > 1 else ""
        repeated = "none is" if self.weights is None else "some are"
        return (
            f"training: {self.steps} steps of {self.samples_per_step} samples{shared} per epoch; "
            f"{self.left_out} of the {self.count} samples are left out, others in each epoch, and {repeated} repeated"
        )

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch; called by Lightning."""
        self.epoch = epoch

    def resume_at(self, epoch: int, batch: int) -> None:
        """Continue with batch number ``batch`` of ``epoch``."""
        self.epoch, self.start = epoch, (epoch, batch)

    def permutation(self, epoch: int) -> Tensor:
        """Return the order (count,) of all ranks in ``epoch``."""
        generator = stable_generator(self.seed, 0 if self.repeated else epoch)
        if self.weights is not None:
            return torch.multinomial(self.weights, self.count, replacement=True, generator=generator)
        return torch.randperm(self.count, generator=generator)

    def __iter__(self) -> Iterator[Place]:  # type: ignore[override]
        epoch = self.epoch
        skipped = self.start[1] if epoch == self.start[0] else 0
        whole = self.permutation(epoch)[: self.steps * self.samples_per_step]
        for index in whole.view(self.steps, self.world, self.batch_size)[skipped:, self.rank].flatten().tolist():
            yield epoch, index

    def __len__(self) -> int:
        return self.steps * self.batch_size


class EvaluationSampler(SequentialSampler):
    """The evaluation order of one rank: every sample once; a rank takes every ``world``-th batch of the split.

    The batches, and hence all metrics, are the same for any number of processes. A small split is cut into ``SPREAD``
    batches; only with more processes or fewer samples than that do the batches depend on the number of processes.

    Args:
        count: Number of samples.
        batch_size: Maximum number of samples per batch.
        rank: Rank of this process.
        world: Number of processes.

    Raises:
        InputError: There are fewer samples than processes.
    """

    def __init__(self, count: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.batch_size = _fitting("evaluation", count, min(batch_size, max(1, count // SPREAD)), world)
        batches = range(count)[:: self.batch_size]
        self.indices = [i for start in batches[rank::world] for i in range(start, min(start + self.batch_size, count))]

    def __iter__(self) -> Iterator[Place]:  # type: ignore[override]
        return ((0, index) for index in self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def _fitting(use: str, count: int, batch_size: int, world: int) -> int:
    if count < world:
        raise InputError(f"the {use} split has {count} samples for {world} processes: use fewer devices, or more data")
    return min(batch_size, count // world)

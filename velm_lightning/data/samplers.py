"""In which order samples are seen: a function of (seed, epoch, position), split over ranks without repeats."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from velm_lightning.io.seeding import stable_generator
from velm_lightning.types import InputError

Place = tuple[int, int]
"""Epoch and index of a sample: all that a worker needs to know, and so all that is sent to it."""

SPREAD = 16
"""Number of batches that even a small split is cut into for evaluation, so that as many processes find one each."""


class TrainSampler(SequentialSampler):  # so that Lightning, asked to overfit, leaves it in its place
    """The training order of one rank.

    The order of an epoch is one permutation, drawn from (seed, epoch) alone and cut into batches of
    ``world * batch_size``; a rank takes its slice of each. Workers, ranks and fusions do not enter. Every rank makes
    the same number of steps: what does not fill a last batch is left out, others in each epoch.

    So the samples of an optimiser step are the same for any number of processes with the same ``world * batch_size``,
    and for gradient accumulation over ``k`` batches that of a batch ``k`` times as large, but for the end of an epoch:
    a large batch that is not filled is left out, and the batches that are left of an accumulated step are a smaller
    step. Weights draw an epoch as one permutation too, whatever the number of processes.

    Args:
        count: number of samples.
        batch_size: samples in a batch of one rank; made smaller where the split is smaller than one batch.
        seed: seed of the permutations.
        rank: this process.
        world: number of processes.
        weights: (count,) relative frequencies to draw with, with replacement; none: each sample once an epoch.
        repeated: every epoch has the order of the first.

    Attributes:
        begin: epoch and batch from which a run goes on: in that epoch, earlier batches have been seen already.

    Raises:
        InputError: there are fewer samples than processes.
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
        self.epoch, self.begin = 0, (0, 0)

    @property
    def together(self) -> int:
        """Number of samples that all ranks see in one step."""
        return self.batch_size * self.world

    @property
    def left_out(self) -> int:
        """Number of samples that an epoch leaves out."""
        return self.count - self.steps * self.together

    def said(self) -> str:
        """Say in a sentence how an epoch divides."""
        shared = f" over {self.world} processes" if self.world > 1 else ""
        repeated = "none is" if self.weights is None else "some are"
        return (
            f"training: {self.steps} steps of {self.together} samples{shared} an epoch; {self.left_out} of the "
            f"{self.count} samples are left out, others in each epoch, and {repeated} repeated"
        )

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; Lightning calls it."""
        self.epoch = epoch

    def go_on(self, epoch: int, batch: int) -> None:
        """Start in ``epoch`` with its batch number ``batch``."""
        self.epoch, self.begin = epoch, (epoch, batch)

    def permutation(self, epoch: int) -> Tensor:
        """Return the order (count,) of all ranks in ``epoch``."""
        generator = stable_generator(self.seed, 0 if self.repeated else epoch)
        if self.weights is not None:
            return torch.multinomial(self.weights, self.count, replacement=True, generator=generator)
        return torch.randperm(self.count, generator=generator)

    def __iter__(self) -> Iterator[Place]:  # type: ignore[override]
        epoch = self.epoch
        seen = self.begin[1] if epoch == self.begin[0] else 0
        whole = self.permutation(epoch)[: self.steps * self.together]
        for index in whole.view(self.steps, self.world, self.batch_size)[seen:, self.rank].flatten().tolist():
            yield epoch, index

    def __len__(self) -> int:
        return self.steps * self.batch_size


class EvaluationSampler(SequentialSampler):
    """Every sample once, none repeated: a rank takes every ``world``-th batch of the split.

    The batches are the same at any number of processes, and so is every figure, to the last digit. So that there is
    one for everybody, a small split is cut into ``SPREAD`` smaller ones; only with more processes, or fewer samples,
    than that do they depend on the number of processes.

    Args:
        count: number of samples.
        batch_size: samples in a batch, at most.
        rank: this process.
        world: number of processes.

    Raises:
        InputError: there are fewer samples than processes.
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

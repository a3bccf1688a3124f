"""A split as batches by sample number, with images or with the features of a frozen encoder."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from velm_lightning.data.collate import Texts, cut_targets
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.data.images.store import ImageStore
from velm_lightning.data.samplers import EvaluationSampler, Place, TrainSampler
from velm_lightning.data.workers import leave_signals_to_parent
from velm_lightning.io.seeding import stable_number
from velm_lightning.types import Batch, InputError

_log = logging.getLogger(__name__)


class Loader(DataLoader[Batch]):
    """A data loader that raises the input errors of its workers without the workers' tracebacks."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, InputError):
                raise batch
            yield batch


def loader_of(
    split: Split, order: TrainSampler | EvaluationSampler, num_workers: int = 0, seed: int = 0
) -> DataLoader[Batch]:
    """Return a loader of the batches of a split.

    Args:
        split: The split.
        order: The samples of this process, in their order.
        num_workers: Number of loader processes; 0 means this process.
        seed: Seed of a random state of its own, so that reading data does not change that of the model.
    """
    return Loader(
        split,
        batch_size=order.batch_size,
        sampler=order,
        num_workers=num_workers,
        collate_fn=_unchanged,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        multiprocessing_context=_start_method() if num_workers else None,
        worker_init_fn=leave_signals_to_parent,
        generator=torch.Generator().manual_seed(seed),
    )


def _start_method() -> str | None:
    """Return how loader processes are started: with ``fork`` they share the samples in memory and import nothing again.

    None means the method of the program, such as ``spawn``, which is never the default on Linux.
    """
    chosen = multiprocessing.get_start_method(allow_none=True) == "spawn"
    return "fork" if sys.platform == "linux" and not chosen else None


def _unchanged(batch: Any) -> Any:
    return batch


class Split(TorchDataset[Batch]):
    """A split that yields batches: tokenised texts, images from a store, augmentation by key.

    Augmentation is a function of (seed, epoch, key) and does not depend on the number of workers and ranks. With
    ``skip``, a batch may have fewer samples than requested, or none.

    Args:
        texts: Prompts, targets and answers.
        images: The images.
        augment: Transforms of uint8 images.
        target_lengths: Maximum number of target tokens in each of the first epochs.
        seed: Seed of augmentation.
        skip: Whether samples with unreadable images are skipped instead of raising.

    Attributes:
        features: Tokens of a frozen encoder, which batches hold instead of images if it is not None.
    """

    def __init__(
        self,
        texts: Texts,
        images: ImageStore,
        augment: Sequence[nn.Module] = (),
        target_lengths: Sequence[int] = (),
        seed: int = 0,
        skip: bool = False,
    ) -> None:
        self.texts, self.images, self.augment, self.seed, self.skip = texts, images, augment, seed, skip
        self.target_lengths = target_lengths
        self.features: FeatureStore | None = None
        self._reported: set[str] = set()

    def __len__(self) -> int:
        return len(self.texts.samples)

    def __getitems__(self, places: list[Place]) -> Batch | InputError:
        """Return one batch; a worker process returns an input error, which ``Loader`` raises."""
        try:
            return self.read(places)
        except InputError as error:
            if get_worker_info() is None:
                raise
            return error

    def read(self, places: list[Place]) -> Batch:
        """Return the batch of the samples at ``places``, augmented for their epoch."""
        epoch, indices = places[0][0], [index for _, index in places]
        if self.features is not None:
            batch = self.texts.batch(indices, self.features.fetch(self.texts.image_indices(indices)))
        else:
            batch = self.pictured(indices)
            if self.augment and batch.size:
                batch = batch._replace(image=self._augmented(batch, epoch))
        if epoch < len(self.target_lengths) and batch.size:
            batch = cut_targets(batch, self.target_lengths[epoch], self.texts.vocabulary.pad)
        return batch

    def pictured(self, indices: Sequence[int]) -> Batch:
        """Return a batch with the original images, without augmentation or features.

        Raises:
            InputError: An image cannot be read and ``skip`` is False; the message names the file and the sample.
        """
        try:
            return self.texts.batch(indices, self.images.fetch(self.texts.image_indices(indices)))
        except InputError:
            pass
        readable = [index for index in indices if self._is_readable(index)]
        return self.texts.batch(readable, self.images.fetch(self.texts.image_indices(readable)))

    def _is_readable(self, index: int) -> bool:
        """Return whether all images of a sample can be read; report one that cannot."""
        _, _, errors = self.images.fetch_readable(self.texts.image_indices([index]))
        key = self.texts.samples[index].key
        for error in errors[:1]:
            if not self.skip:
                raise InputError(f"sample {key!r}: {error}")
            if key not in self._reported:
                self._reported.add(key)
                _log.warning("skipped: sample %r: %s", key, error)
        return not errors

    def _augmented(self, batch: Batch, epoch: int) -> Tensor:
        images = []
        with torch.random.fork_rng(devices=[]):
            for key, image in zip(batch.keys, batch.image, strict=True):
                torch.default_generator.manual_seed(stable_number(self.seed, epoch, key))
                for transform in self.augment:
                    image = transform(image)
                images.append(image)
        return torch.stack(images)

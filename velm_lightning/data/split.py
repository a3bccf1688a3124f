"""A split as it is read: batches by sample number, with pictures or with a frozen encoder's features."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from velm_lightning.data.collate import Texts, cut_targets
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.data.images.store import ImageStore
from velm_lightning.data.samplers import Place
from velm_lightning.io.seeding import stable_number
from velm_lightning.types import Batch, InputError


class Loader(DataLoader[Batch]):
    """A loader whose processes hand over what is wrong with a picture as it is, without a trace of where they were."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, InputError):
                raise batch
            yield batch


class Split(TorchDataset[Batch]):
    """A split ready to be read in batches: texts as numbers, pictures in a store, augmentation by key.

    Augmentation is a function of (seed, epoch, key): the same picture at any number of workers and ranks.

    Where pictures may be left out, a batch has fewer samples, or none, than it was asked for.

    Args:
        texts: prompts, targets and answers.
        images: pictures.
        augment: transforms of uint8 pictures.
        target_lengths: how many word pieces of a target the first epochs see.
        seed: seed of augmentation.
        skip: leave samples out whose picture cannot be read, instead of raising what is wrong with it.

    Attributes:
        features: a frozen encoder's tokens of the pictures; where they are set, batches hold them instead.
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
        self._told: set[str] = set()

    def __len__(self) -> int:
        return len(self.texts.samples)

    def __getitems__(self, places: list[Place]) -> Batch | InputError:
        """Read one batch at once; a loader process returns what is wrong with it, for ``Loader`` to raise."""
        try:
            return self.read(places)
        except InputError as error:
            if get_worker_info() is None:
                raise
            return error

    def read(self, places: list[Place]) -> Batch:
        """Return the batch of the samples at ``places``, as their epoch wants it."""
        epoch, indices = places[0][0], [index for _, index in places]
        if self.features is not None:
            batch = self.texts.batch(indices, self.features.fetch(indices))
        else:
            batch = self.pictured(indices)
            if self.augment and batch.size:
                batch = batch._replace(image=self._augmented(batch, epoch))
        if epoch < len(self.target_lengths) and batch.size:
            batch = cut_targets(batch, self.target_lengths[epoch], self.texts.vocabulary.pad)
        return batch

    def pictured(self, indices: Sequence[int]) -> Batch:
        """Read samples with their pictures as they are, never augmented nor as features.

        Raises:
            InputError: a picture cannot be read, and may not be left out; the message names its file and the sample.
        """
        if not self.skip:
            try:
                return self.texts.batch(indices, self.images.fetch(indices))
            except InputError:
                pass
        pictures, kept, errors = self.images.fetch_readable(indices)
        lost = [self.texts.samples[index].key for place, index in enumerate(indices) if place not in set(kept)]
        for key, error in zip(lost, errors, strict=True):
            if not self.skip:
                raise InputError(f"sample {key!r}: {error}")
            if key not in self._told:
                self._told.add(key)
                print(f"left out: sample {key!r}: {error}", file=sys.stderr, flush=True)
        return self.texts.batch([indices[place] for place in kept], pictures)

    def _augmented(self, batch: Batch, epoch: int) -> Tensor:
        pictures = []
        with torch.random.fork_rng(devices=[]):
            for key, picture in zip(batch.keys, batch.image, strict=True):
                torch.default_generator.manual_seed(stable_number(self.seed, epoch, key))
                for transform in self.augment:
                    picture = transform(picture)
                pictures.append(picture)
        return torch.stack(pictures)

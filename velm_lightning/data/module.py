"""The one data module: any dataset in, batches out, the same for every fusion and task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader

from velm_lightning.checkpoints.checkpoint import vocabulary_of
from velm_lightning.data.balance import balance
from velm_lightning.data.collate import Texts
from velm_lightning.data.features.frozen import FrozenEncoder, check_frozen, encoder_key
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.data.images.store import MAX_PIXELS, ImageStore
from velm_lightning.data.incongruent import with_other_pictures
from velm_lightning.data.samplers import EvaluationSampler, TrainSampler
from velm_lightning.data.split import Loader, Split
from velm_lightning.text.tokenizers import Tokenizing, TrainedTokenizer
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, Dataset, ImageTransform, InputError, Sample


class MultimodalData(LightningDataModule):
    """Pictures with texts, for any fusion and task.

    Args:
        dataset: what to read; its splits are ``train``, ``val`` and ``test``.
        tokenizer: where the word pieces come from; by default trained on the training split, see ``TrainedTokenizer``.
        batch_size: samples in a batch of one process.
        num_workers: loader processes; 0 is fastest where pictures are in memory.
        image_cache: ``memory`` decodes each image once and keeps it in memory, ``disk`` keeps it in a uint8 file,
            ``disabled`` decodes it each time it is used.
        cache_dir: folder of the ``disk`` cache and of features. Default: a folder in the user's cache folder.
        cache_features: run a frozen image encoder once over each picture and train from what it gave; the tokens are
            kept in ``cache_dir`` for all runs with the same weights.
        augment: torchvision v2 transforms of uint8 pictures, for training.
        num_answers: size of the answer vocabulary: the most frequent training answers.
        balance: exponent of the training order's frequencies: 0 shows every sample once an epoch, 1 draws every answer
            equally often; a sample counts for each of its answers by that answer's share. See ``data.balance``.
        max_length: longest prompt, and longest target, in word pieces.
        vocabulary_from: checkpoint whose word pieces and answers are used; by default those of the training split.
            ``velm validate``, ``test`` and ``predict`` set it to the checkpoint that they evaluate.
        target_lengths: how many word pieces of a target are learned in the first epochs, one number an epoch, before
            all are (sequence length warmup, Li et al. 2022).
        on_bad_image: what to do where a picture cannot be read: ``error`` names its file and the sample; ``skip``
            leaves the sample out, counts it, and puts nothing in its place.
        max_pixels: a picture whose header claims more is refused before it is decoded.
        incongruent: show every sample another sample's picture in evaluation (Elliott 2018): a model that does not
            look scores the same. What a run leaves is then called "test-incongruent".
        seed: seed of the training order and of augmentation; follows ``seed_everything`` on the command line.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: Tokenizing | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        image_cache: Literal["memory", "disk", "disabled"] = "memory",
        cache_dir: Path | None = None,
        cache_features: bool = False,
        augment: Sequence[nn.Module] = (),
        num_answers: int = 3000,
        balance: float = 0.0,
        max_length: int = 64,
        vocabulary_from: Path | None = None,
        target_lengths: Sequence[int] = (),
        on_bad_image: Literal["error", "skip"] = "error",
        max_pixels: int = MAX_PIXELS,
        incongruent: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise InputError(
                f"data.batch_size={batch_size} must be at least 1, data.num_workers={num_workers} at least 0"
            )
        if any(length < 1 for length in target_lengths):
            raise InputError(f"data.target_lengths={list(target_lengths)}: an epoch learns at least 1 word piece")
        if cache_features and augment:
            raise InputError(
                f"data.cache_features=true keeps one set of features a picture, but data.augment has {len(augment)} "
                "transforms that change it every epoch: set one of them to false or to []"
            )
        if cache_features and on_bad_image == "skip":
            raise InputError(
                "data.on_bad_image=skip does not go with data.cache_features=true: remove the pictures that "
                "`velm data check` lists"
            )
        self.on_bad_image, self.max_pixels = on_bad_image, max_pixels
        self.dataset, self.tokenizing = dataset, tokenizer or TrainedTokenizer()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.image_cache, self.cache_dir, self.augment = image_cache, cache_dir, list(augment)
        self.num_answers, self.balance, self.max_length = num_answers, balance, max_length
        self.cache_features, self.incongruent, self.target_lengths = cache_features, incongruent, target_lengths
        self.vocabulary_from = vocabulary_from
        self.transform: ImageTransform | None = None
        self.encoder: FrozenEncoder | None = None
        self._splits: dict[str, Split] = {}
        self.order: TrainSampler | None = None
        self._seen: dict[str, int] = {}

    # What the model needs to know of the data.

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Word pieces and answers: of the training split, or of a checkpoint; ``connect`` puts in those of the model.

        Raises:
            InputError: there is no training split, or the checkpoint cannot be read.
        """
        if self.vocabulary_from is not None:
            return vocabulary_of(self.vocabulary_from)
        train = self.samples("train")
        tokenizer = self.tokenizing.tokenizer([sample.text for sample in train] + self.sentences("train"))
        weights: Counter[str] = Counter()
        for sample in train:
            if isinstance(sample.target, Mapping):
                weights.update(sample.target)
        ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[: self.num_answers]
        answers, counts = [answer for answer, _ in ranked], [float(count) for _, count in ranked]
        return Vocabulary(answers=answers, counts=counts, max_length=self.max_length, **tokenizer)

    def samples(self, name: str) -> Sequence[Sample]:
        """Return the samples of a split as the dataset gives them.

        Raises:
            InputError: the split is empty.
        """
        found = self.dataset.split(name)
        if not found:
            raise InputError(f"{type(self.dataset).__name__} has no {name!r} split")
        return found

    def has(self, name: str) -> bool:
        """Say whether there is such a split."""
        return bool(self.dataset.split(name))

    def sentences(self, name: str) -> list[str]:
        """Return the sentences to produce in a split; none where its targets are answers."""
        return [sample.target for sample in self.dataset.split(name) if isinstance(sample.target, str)]

    def title(self, name: str) -> str:
        """Return what the figures of a split go by: its name, and whether its pictures are another sample's."""
        return f"{name}-incongruent" if self.incongruent else name

    def file(self, name: str) -> Path | None:
        """Return the file that a split is read from, if the dataset has one file a split."""
        found: Path | None = getattr(self.dataset, "files", {}).get(name)
        return found

    @property
    def predicted(self) -> str:
        """The split that is predicted: the test split, or the validation split if there is no test split."""
        return "test" if self.has("test") else "val"

    def fingerprint(self, name: str) -> str:
        """Return 16 hexadecimal digits that change with any key, text, target or reference of a split."""
        digest = blake2b(digest_size=8)
        for sample in self.dataset.split(name):
            digest.update(repr((sample.key, sample.text, sample.target, sample.references, sample.group)).encode())
        return digest.hexdigest()

    # What Lightning asks for.

    def setup(self, stage: str) -> None:
        """Get to know the model."""
        if self.trainer is not None:
            self.connect(self.trainer.lightning_module)

    def connect(self, model: Any) -> None:
        """Take over what a model reads: its word pieces and answers, its image encoder's geometry, and its features.

        Raises:
            InputError: features are to be kept of an encoder that learns.
        """
        known: Vocabulary = getattr(model, "vocabulary", None) or self.vocabulary
        if self.transform != model.transform or self.__dict__.get("vocabulary") is not known:
            self._splits = {}  # their pictures are of another size or shape, or their numbers stand for other words
        self.transform, self.vocabulary = model.transform, known
        encoder: Any = model.image_encoder
        if not self.cache_features or isinstance(encoder, nn.Identity):  # a control that sees no image
            self.encoder = None
            return
        self.encoder = encoder.of_frames
        check_frozen(self.encoder)

    def split(self, name: str) -> Split:
        """Return a split ready to be read; pictures are decoded on the first call. See ``with_features``.

        Raises:
            InputError: the model's image transform is not known yet.
        """
        if self.transform is None:
            raise InputError("set data.transform to the model's `transform` before reading batches")
        if name not in self._splits:
            samples = self.samples(name)
            if self.incongruent and name != "train":
                samples = with_other_pictures(samples, self.seed)
            pictures = [sample.image for sample in samples]
            mode = self.image_cache if self.encoder is None else "disabled"
            store = ImageStore(
                pictures,
                self.transform,
                mode=mode,
                cache_dir=self.cache_dir,
                max_pixels=self.max_pixels,
                strict=self.on_bad_image == "error",
            )
            augment, lengths = (self.augment, self.target_lengths) if name == "train" else ([], ())
            skip = self.on_bad_image == "skip"
            self._splits[name] = Split(Texts(samples, self.vocabulary), store, augment, lengths, self.seed, skip)
        return self._splits[name]

    def with_features(self, name: str) -> Split:
        """Return a split whose batches hold features where they are to be kept; those missing are made.

        Raises:
            InputError: as ``split``, ``connect`` and ``FeatureStore``.
        """
        split, encoder = self.split(name), self.encoder
        if encoder is None:
            split.features = None
        elif split.features is None or split.features.key != encoder_key(encoder):
            first = self.trainer is None or self.trainer.is_global_zero
            pictures = [sample.image for sample in split.texts.samples]
            split.features = FeatureStore(pictures, encoder, self.cache_dir, progress=first)
        return split

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Refuse to go on with features of an encoder that has begun to learn."""
        if self.encoder is not None:
            check_frozen(self.encoder)
        return batch

    def train_order(self) -> TrainSampler:
        """Return this rank's training order.

        Raises:
            InputError: the order is to be balanced, and the samples have no answers.
        """
        split, weights = self.split("train"), None
        if self.balance:
            found = balance(split.texts.answers, self.balance)
            weights = found.weights
            if not found.solved and self._place()[0] == 0:
                print(found.describe(self.balance))
        repeated = bool(getattr(self.trainer, "overfit_batches", 0))  # some batches, again and again
        return TrainSampler(len(split), self.batch_size, self.seed, *self._place(), weights, repeated)

    def state_dict(self) -> dict[str, int]:
        """Return how far the training order has been followed: all that a run needs to go on with its next batch."""
        if self.trainer is None or self.order is None:
            return {}
        loop = self.trainer.fit_loop
        epoch: Any = loop.epoch_progress.current
        batches: Any = loop.epoch_loop.batch_progress.current
        within = batches.processed if epoch.processed < epoch.started else 0
        return {"epoch": epoch.processed, "batches": within, "samples_a_step": self.order.together}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there: Lightning calls it before it asks for the training batches."""
        self._seen = state_dict

    def _resumed(self, order: TrainSampler) -> TrainSampler:
        """Let the order start where the run that goes on had stopped.

        Raises:
            InputError: that was in the middle of an epoch, and a step had another number of samples.
        """
        if self._seen:
            before = self._seen["samples_a_step"]
            if self._seen["batches"] and before != order.together:
                raise InputError(
                    f"the checkpoint was written within an epoch of {before} samples a step, now a step has "
                    f"{order.together}: keep data.batch_size x number of processes, or resume from best.ckpt"
                )
            order.go_on(self._seen["epoch"], self._seen["batches"])
        return order

    def train_dataloader(self) -> DataLoader[Batch]:
        """See ``LightningDataModule``.

        Raises:
            InputError: ``incongruent`` is set.
        """
        if self.incongruent:
            raise InputError("data.incongruent=true is for `velm test`, not for training: set it to false")
        split = self.with_features("train")
        self.order = self._resumed(self.train_order())
        return self._loader(split, self.order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """See ``LightningDataModule``."""
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """See ``LightningDataModule``."""
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the split that is predicted."""
        return self._evaluation(self.predicted)

    def _evaluation(self, name: str) -> DataLoader[Batch]:
        split = self.with_features(name)
        return self._loader(split, EvaluationSampler(len(split), self.batch_size, *self._place()))

    def _loader(self, split: Split, order: TrainSampler | EvaluationSampler) -> DataLoader[Batch]:
        return Loader(
            split,
            batch_size=order.batch_size,
            sampler=order,
            num_workers=self.num_workers,
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            generator=torch.Generator().manual_seed(
                self.seed
            ),  # reading data takes nothing from the random numbers of the model
        )

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)


def _as_is(batch: Any) -> Any:
    return batch

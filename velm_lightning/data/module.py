"""The data module, which turns any dataset into batches for every fusion and task."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

from lightning import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader
from typing_extensions import override

from velm_lightning.checkpoints.checkpoint import vocabulary_of
from velm_lightning.data.balance import balance
from velm_lightning.data.collate import Texts
from velm_lightning.data.datasets.columns import Columns
from velm_lightning.data.datasets.rows import Rows, Table
from velm_lightning.data.features.frozen import FrozenEncoder, check_frozen, encoder_key
from velm_lightning.data.features.store import FeatureStore
from velm_lightning.data.fingerprint import fingerprint_of
from velm_lightning.data.images.store import MAX_PIXELS, ImageStore
from velm_lightning.data.incongruent import with_other_images
from velm_lightning.data.position import position_of, resumed
from velm_lightning.data.samplers import EvaluationSampler, TrainSampler
from velm_lightning.data.settings import DataSettings, check_settings
from velm_lightning.data.split import Split, loader_of
from velm_lightning.data.vocabulary import vocabulary_of_samples
from velm_lightning.errors import at_least, within
from velm_lightning.io.configurable import RecordsArguments
from velm_lightning.io.paths import user_path
from velm_lightning.text.tokenizers import PretrainedTokenizer, Tokenizing, TrainedTokenizer
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, Dataset, ImageTransform, InputError, Sample

_log = logging.getLogger(__name__)
_WITHOUT = {
    "val": ": name its file, hold images out (data.dataset.init_args.holdout=0.1), or train without evaluation "
    "(trainer.limit_val_batches=0)"
}
"""What to do if there is no such split."""


class MultimodalData(RecordsArguments, LightningDataModule):
    """Images with texts, for any fusion and task.

    Args:
        dataset: The dataset, with the splits ``train``, ``val`` and ``test``.
        tokenizer: Source of the tokeniser. None means a ``TrainedTokenizer``, trained on the training split.
        batch_size: Samples per batch and process.
        num_workers: Number of loader processes; 0 is fastest if the images are in memory.
        image_cache: ``memory`` decodes each image once and keeps it in memory, ``disk`` keeps it in a uint8 file,
            ``disabled`` decodes it each time it is used.
        cache_dir: Folder of the ``disk`` cache and of features. Default: a folder in the user's cache folder.
        cache_features: Whether a frozen image encoder runs only once per image; its tokens are kept in ``cache_dir``
            for all runs with the same weights.
        augment: torchvision v2 transforms of uint8 images, for training.
        num_answers: Size of the answer vocabulary: the most frequent training answers.
        balance: Exponent of the sampling frequencies: 0 draws every sample once per epoch, 1 draws every answer
            equally often; a sample counts for each of its answers by that answer's share. See ``data.balance``.
        max_length: Maximum number of tokens of a prompt and of a target, or of a whole conversation.
        vocabulary_from: Checkpoint whose tokeniser and answers are used. None means those of the training split.
            ``velm validate``, ``test`` and ``predict`` set it to the checkpoint that they evaluate.
        target_lengths: Maximum number of target tokens in each of the first epochs (sequence length warmup, Li et al.
            2022).
        on_bad_image: What happens if an image cannot be read: ``error`` raises and names the file and the sample;
            ``skip`` omits the sample and prints its key.
        on_long_conversation: What happens if a conversation has more than ``max_length`` tokens: ``drop_turns`` removes
            whole turns from its beginning and prints how many; ``error`` raises.
        max_pixels: Limit on the pixels that an image header claims, checked before decoding.
        incongruent: Whether evaluation gives every sample the image of another sample (Elliott 2018): a model that
            ignores the image scores the same. The split is then named "test-incongruent".
        seed: Seed of the training order and of augmentation; set by ``seed_everything`` on the command line.

    Raises:
        InputError: An argument is out of its range, or ``dataset`` is not a dataset.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16), batch_size=4)
        >>> "yes" in data.vocabulary.answers
        True
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
        on_long_conversation: Literal["error", "drop_turns"] = "drop_turns",
        max_pixels: int = MAX_PIXELS,
        incongruent: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        at_least(1, "data", batch_size=batch_size, max_length=max_length, max_pixels=max_pixels)
        at_least(0, "data", num_workers=num_workers, num_answers=num_answers, seed=seed)
        within(0, math.inf, "data", balance=balance)
        check_settings(num_workers, target_lengths, cache_features, augment, on_bad_image)
        self.on_bad_image, self.max_pixels = on_bad_image, max_pixels
        self.on_long_conversation = on_long_conversation
        self.dataset, self.tokenizing = dataset, tokenizer or TrainedTokenizer()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.image_cache, self.augment = image_cache, list(augment)
        self.cache_dir = None if cache_dir is None else user_path(cache_dir)
        self.num_answers, self.balance, self.max_length = num_answers, balance, max_length
        self.cache_features, self.incongruent, self.target_lengths = cache_features, incongruent, target_lengths
        self.vocabulary_from = None if vocabulary_from is None else user_path(vocabulary_from)
        self.transform: ImageTransform | None = None
        self.encoder: FrozenEncoder | None = None
        self._as_mean = False
        self._splits: dict[str, Split] = {}
        self.order: TrainSampler | None = None
        self._position: dict[str, int] = {}
        self._fingerprints: dict[str, str] = {}

    @classmethod
    def from_rows(
        cls,
        rows: Table | Mapping[str, Table],
        images: str | Path | None = None,
        columns: Columns | None = None,
        holdout: float = 0.1,
        **settings: Unpack[DataSettings],
    ) -> MultimodalData:
        """Return data from rows in memory: dictionaries, a pandas DataFrame, or a table of ``datasets``.

        Args:
            rows: One table, or a table per split: ``{"train": …, "val": …, "test": …}``. The columns are those of
                ``JSONLines``; an image is a path, a PIL image, an array (H, W, 3) uint8, a tensor (3, H, W) uint8, or
                the bytes of a file.
            images: Folder of images that are given by a relative path. None means the working directory.
            columns: Names of columns that differ, or None to ignore one: ``{"text": "question"}``.
            holdout: Share of the images held out for validation, and from one table also for testing.
            settings: The other arguments of ``MultimodalData``.

        Raises:
            InputError: As ``Rows`` and ``MultimodalData``.

        Example:
            >>> import numpy as np
            >>> import velm_lightning as velm
            >>> shades = [np.full((16, 16, 3), shade, np.uint8) for shade in range(0, 240, 10)]
            >>> rows = [{"image": shade, "text": "dark?", "answers": "yes"} for shade in shades]
            >>> data = velm.MultimodalData.from_rows(rows)
            >>> [len(data.samples(split)) for split in ("train", "val", "test")]
            [20, 2, 2]
        """
        return cls(Rows(rows, images, columns, holdout), **settings)

    # The vocabulary and the splits

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Tokens and answers of the training split or of a checkpoint; ``connect`` replaces them by those of the model.

        Raises:
            InputError: There is no training split, or the checkpoint cannot be read.
        """
        if self.vocabulary_from is not None:
            return vocabulary_of(self.vocabulary_from)
        return vocabulary_of_samples(self.samples("train"), self.tokenizing, self.num_answers, self.max_length)

    def samples(self, name: str) -> Sequence[Sample]:
        """Return the samples of a split as the dataset yields them.

        Raises:
            InputError: The split is empty.
        """
        samples = self.dataset.split(name)
        if not samples:
            raise InputError(f"{type(self.dataset).__name__} has no {name!r} split{self._without(name)}")
        return samples

    def _without(self, name: str) -> str:
        if name == "val" and getattr(self.dataset, "holdout", None):
            return ", because its rows show only one image: name its file, or set trainer.limit_val_batches=0"
        return _WITHOUT.get(name, "")

    def has(self, name: str) -> bool:
        """Return whether the split exists."""
        return bool(self.dataset.split(name))

    def sentences(self, name: str) -> list[str]:
        """Return the target sentences of a split, all replies of conversations; empty if its targets are answers."""
        return [sentence for sample in self.dataset.split(name) for sentence in sample.sentences]

    def title(self, name: str) -> str:
        """Return the name under which a split is reported, which states whether its images are permuted."""
        return f"{name}-incongruent" if self.incongruent else name

    def file(self, name: str) -> Path | None:
        """Return the file of a split, or None if the dataset does not have one file per split."""
        file: Path | None = getattr(self.dataset, "files", {}).get(name)
        return file

    @property
    def predicted(self) -> str:
        """The split of ``velm predict``: the test split, or the validation split if there is no test split."""
        return "test" if self.has("test") else "val"

    def fingerprint(self, name: str) -> str:
        """Return 16 hexadecimal digits that change with any key, text, target, reference or image of a split.

        An image file counts by its size in bytes, so that the folder may move and no file is read; a tensor by its
        content. The digits are computed on the first call.
        """
        if name not in self._fingerprints:
            self._fingerprints[name] = fingerprint_of(self.dataset.split(name))
        return self._fingerprints[name]

    # Lightning hooks

    def setup(self, stage: str) -> None:
        """Take the vocabulary and the image transform from the trainer's model."""
        if self.trainer is not None:
            if (connector := getattr(self.trainer, "_accelerator_connector", None)) is not None:
                connector.use_distributed_sampler = False  # the samplers of this module place every rank
            self.connect(self.trainer.lightning_module)

    def connect(self, model: Any) -> None:
        """Take the vocabulary, the image transform and, for cached features, the image encoder from a model.

        Raises:
            InputError: Features are to be cached, but the encoder is trained; or images are augmented and tiled.
        """
        vocabulary: Vocabulary = getattr(model, "vocabulary", None) or self.vocabulary
        if self.transform != model.transform or self.__dict__.get("vocabulary") is not vocabulary:
            self._splits = {}  # their image size or token ids no longer fit
        self.transform, self.vocabulary = model.transform, vocabulary
        if self.augment and model.transform.tiles:
            raise InputError(
                "data.augment changes an image after it was cut into tiles, whose places would be wrong: set it to [], "
                "or use an image encoder without tiles"
            )
        self._describe_tokenizer(model)
        encoder: Any = model.image_encoder
        if not self.cache_features or isinstance(encoder, nn.Identity):  # a control model without image
            self.encoder = None
            return
        self.encoder, self._as_mean = encoder.of_frames, bool(getattr(model, "uses_image_mean", False))
        check_frozen(self.encoder)

    def _describe_tokenizer(self, model: Any) -> None:
        """Take the name of the tokeniser from a text encoder that has replaced the default one by its own."""
        encoder = getattr(model, "text_encoder", None)
        argument = getattr(encoder, "tokenizer_argument", None)
        name = encoder._init_args.get(argument) if encoder is not None and argument else None
        if name and isinstance(self.tokenizing, TrainedTokenizer):
            self.tokenizing = PretrainedTokenizer(str(name))
            self.tokenizing.reason = f"that of {name}"

    def split(self, name: str) -> Split:
        """Return a split that yields batches; its images are decoded on the first call. See ``with_features``.

        Raises:
            InputError: The image transform has not been set.
        """
        if self.transform is None:
            raise InputError("set data.transform to the model's `transform` before reading batches")
        if name not in self._splits:
            samples = self.samples(name)
            if self.incongruent and name != "train":
                samples = with_other_images(samples, self.seed)
            texts = Texts(samples, self.vocabulary, self.on_long_conversation == "drop_turns")
            if texts.shortened and self._rank_and_world()[0] == 0:
                _log.warning("%s: %s", name, texts.shortened)
            mode = self.image_cache if self.encoder is None else "disabled"
            store = ImageStore(
                texts.images,
                self.transform,
                mode=mode,
                cache_dir=self.cache_dir,
                max_pixels=self.max_pixels,
                strict=self.on_bad_image == "error",
            )
            augment, lengths = (self.augment, self.target_lengths) if name == "train" else ([], ())
            skip = self.on_bad_image == "skip"
            self._splits[name] = Split(texts, store, augment, lengths, self.seed, skip)
        return self._splits[name]

    def with_features(self, name: str) -> Split:
        """Return a split whose batches hold cached features, if enabled; missing features are computed.

        Raises:
            InputError: As ``split``, ``connect`` and ``FeatureStore``.
        """
        split, encoder = self.split(name), self.encoder
        if encoder is None:
            split.features = None
        elif split.features is None or split.features.key != encoder_key(encoder):
            first = self.trainer is None or self.trainer.is_global_zero
            split.features = FeatureStore(split.texts.images, encoder, self.cache_dir, progress=first)
        if split.features is not None:
            split.features.as_mean = self._as_mean
        return split

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Check that an encoder with cached features is still frozen."""
        if self.encoder is not None:
            check_frozen(self.encoder)
        return batch

    def train_order(self) -> TrainSampler:
        """Return this rank's training order.

        Raises:
            InputError: ``balance`` is set, and the samples have no answers.
        """
        split, weights = self.split("train"), None
        if self.balance:
            solution = balance(split.texts.answers, self.balance)
            weights = solution.weights
            if not solution.solved and self._rank_and_world()[0] == 0:
                _log.info(solution.describe(self.balance))
        repeated = bool(getattr(self.trainer, "overfit_batches", 0))  # repeats the same batches
        return TrainSampler(len(split), self.batch_size, self.seed, *self._rank_and_world(), weights, repeated)

    def state_dict(self) -> dict[str, int]:
        """Return the position in the training order, from which a resumed run continues."""
        if self.trainer is None or self.order is None:
            return {}
        return position_of(self.trainer, self.order)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Store the position; Lightning calls this before ``train_dataloader``."""
        self._position = state_dict

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the training split, from the position of a resumed run on.

        Raises:
            InputError: ``incongruent`` is set.
        """
        if self.incongruent:
            raise InputError("data.incongruent=true is for `velm test`, not for training: set it to false")
        split = self.with_features("train")
        self.order = resumed(self.train_order(), self._position)
        return loader_of(split, self.order, self.num_workers, self.seed)

    @override
    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation("val")

    @override
    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of ``predicted``."""
        return self._evaluation(self.predicted)

    def _evaluation(self, name: str) -> DataLoader[Batch]:
        split = self.with_features(name)
        order = EvaluationSampler(len(split), self.batch_size, *self._rank_and_world())
        return loader_of(split, order, self.num_workers, self.seed)

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

"""The words that every layer shares: a sample, a batch, tokens with blocks, and what a task may ask of a fusion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from velm_lightning.errors import InputError as InputError

Image = Path | Tensor | tuple[Path | Tensor, ...]
"""A file, an uint8 picture (3, H, W), or the frames of a clip."""

SPLITS = ("train", "val", "test")


class Sample(NamedTuple):
    """One example as a dataset yields it; a person can read it.

    Attributes:
        key: unique and stable within its split: predictions and paired tests join on it.
        image: a file, an uint8 tensor (3, H, W), or the frames of a clip.
        text: the prompt: a question, a source sentence, a document; empty for captioning.
        target: a sentence to produce (``str``), answers with their weights, or nothing.
        references: what a prediction is scored against: the annotators' answers, or reference sentences. A sample
            without any, ``()`` or None, is predicted and counted, and has no score.
        group: question type or the like, for break-downs; may be empty.
    """

    key: str
    image: Image
    text: str
    target: str | Mapping[str, float] | None
    references: tuple[str, ...] | None
    group: str = ""


class Dataset(ABC):
    """What the data module reads: one class a dataset, one file a class."""

    @abstractmethod
    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of ``train``, ``val`` or ``test`` in a stable order; empty where there is no such split.

        Raises:
            InputError: a file is missing or malformed; the message names it, the line or key, and the mend.
        """


class Tokens(NamedTuple):
    """A padded sequence of vectors, each with a block number; the one rule of who sees whom stands here.

    A token sees the valid tokens whose block is not later than its own. Image and prompt are block 0 and see each
    other; target tokens are blocks 1, 2, 3, …, each seeing itself and what came before.

    Attributes:
        embeddings: (B, N, D) vectors.
        mask: (B, N) bool, false on padding.
        block_ids: (B, N) int64.
    """

    embeddings: Tensor
    mask: Tensor
    block_ids: Tensor

    def can_attend_to(self, other: Tokens, causal: bool = False) -> Tensor:
        """Return (B, N, M) bool: which token of ``other`` each token of ``self`` may look at.

        ``causal`` hides, within a block too, what stands further right; ``self`` is the last N of the M then.
        """
        seen = (other.block_ids[:, None, :] <= self.block_ids[:, :, None]) & other.mask[:, None, :]
        return seen.tril(seen.shape[2] - seen.shape[1]) if causal else seen

    def with_embeddings(self, x: Tensor) -> Tokens:
        """Return the same places carrying other vectors (B, N, D')."""
        return Tokens(x, self.mask, self.block_ids)

    def rows(self, index: Tensor) -> Tokens:
        """Return the batch rows named by ``index`` (B',): repeats are allowed."""
        return Tokens(self.embeddings[index], self.mask[index], self.block_ids[index])

    def mean(self) -> Tensor:
        """Return the mean (B, D) of the valid tokens, zeros where there is none."""
        weight = self.mask[..., None].to(self.embeddings.dtype)
        return (self.embeddings * weight).sum(1) / weight.sum(1).clamp(min=1)

    @staticmethod
    def of_image(x: Tensor) -> Tokens:
        """Return ``x`` (B, N, D) as valid tokens of block 0."""
        places = x.shape[:2]
        valid = torch.ones(places, dtype=torch.bool, device=x.device)
        return Tokens(x, valid, torch.zeros(places, dtype=torch.long, device=x.device))

    @staticmethod
    def cat(parts: Sequence[Tokens]) -> Tokens:
        """Join sequences one after another: (B, N1 + N2 + …, D)."""
        return Tokens(*(torch.cat(field, dim=1) for field in zip(*parts, strict=True)))


class ImageTransform(NamedTuple):
    """What an image encoder wants to be fed; the data module applies the geometry, the encoder the normalisation.

    Attributes:
        size: side of the square picture in pixels.
        resize: ``squash`` to the square, or ``crop``: shorter side to ``size`` / ``crop_ratio``, then the centre, at
            the same place as torchvision's ``ImageClassification`` preset.
        crop_ratio: share of the resized shorter side that the centre crop keeps.
        interpolation: resampling filter.
        mean: channel means of pixels scaled to 0…1.
        std: channel standard deviations of pixels scaled to 0…1.
    """

    size: int
    resize: Literal["squash", "crop"] = "squash"
    crop_ratio: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class Batch(NamedTuple):
    """Samples collated; a NamedTuple, so that it crosses collation, device transfer and DDP with no code of ours.

    Attributes:
        keys: B sample keys.
        image: (B, 3, H, W) uint8, or (B, T, 3, H, W) for clips.
        ids: (B, N) int64 word pieces: start, prompt, separator, then the target sentence and its end, then padding.
        mask: (B, N) bool, false on padding.
        block_ids: (B, N) int64: 0 on the prompt, 1, 2, 3, … on the target sentence.
        answers: (B, A) float weights over the answer vocabulary; A = 0 where the task has none.
        prompts: B prompts as written.
        references: B tuples of reference answers or sentences.
        groups: B group names.
        pictures: B names of pictures: the key of the first sample of the split that shows it.
    """

    keys: tuple[str, ...]
    image: Tensor
    ids: Tensor
    mask: Tensor
    block_ids: Tensor
    answers: Tensor
    prompts: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    pictures: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of samples B."""
        return len(self.keys)

    @property
    def words(self) -> TextInput:
        """The text."""
        return TextInput(self.ids, self.mask, self.block_ids)

    def first(self, count: int) -> Batch:
        """Return the first ``count`` samples."""
        return Batch._make(field[:count] for field in self)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on ``device``."""
        return Batch._make(field.to(device) if isinstance(field, Tensor) else field for field in self)


class TextInput(NamedTuple):
    """The text of a batch: the fields of ``Batch`` of the same names.

    Attributes:
        ids: (B, N) int64 word pieces.
        mask: (B, N) bool, false on padding.
        block_ids: (B, N) int64.
    """

    ids: Tensor
    mask: Tensor
    block_ids: Tensor

    def rows(self, index: Tensor) -> TextInput:
        """Return the batch rows named by ``index`` (B',): repeats are allowed."""
        return TextInput(*(field[index] for field in self))


class Prediction(NamedTuple):
    """One line of an evaluation: every reported figure is computed from such rows.

    Attributes:
        key: the sample's key.
        group: the sample's group.
        prompt: the prompt as written.
        prediction: what the model said.
        references: what it is scored against; empty if there is nothing.
        score: the headline metric of this sample, 0…1 for accuracies; NaN without references.
        confidence: probability the model gave its prediction.
        loss: the sample's loss; NaN where there is no target.
        image: the name of its picture, the same for all samples that show it; intervals resample by it.
    """

    key: str
    group: str
    prompt: str
    prediction: str
    references: tuple[str, ...]
    score: float
    confidence: float
    loss: float
    image: str = ""

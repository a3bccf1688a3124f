"""The types that the whole package shares: samples, batches, tokens with block ids, and predictions.

Shapes use one legend in all modules: B batch, T frames (or texts, next to I images), N text tokens, M image tokens,
D width, V vocabulary, K beams.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from velm_lightning.errors import InputError as InputError
from velm_lightning.errors import unreadable
from velm_lightning.io.configurable import RecordsArguments


@dataclass(frozen=True, slots=True)
class FilePart:
    """An image file that is stored within a larger file, such as a tar shard or an Arrow table.

    Attributes:
        file: The larger file.
        offset: Position of the first byte of the image file.
        length: Its number of bytes.
        name: Its name, for messages and predictions.
    """

    file: Path
    offset: int
    length: int
    name: str = ""

    def read(self) -> bytes:
        """Return the bytes of the image file.

        Raises:
            InputError: The larger file is missing or cut off.
        """
        try:
            with self.file.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.length)
        except (OSError, ValueError) as error:
            raise unreadable(self.file, error) from error
        if len(content) < self.length:
            raise InputError(f"{self.file}: ends before its image {self.name or self.offset}: replace the file")
        return content

    def __str__(self) -> str:
        return f"{self.file}: {self.name or f'byte {self.offset}'}"


Source = Path | FilePart | Tensor
"""A file, a part of a file, a uint8 image (3, H, W), or the bytes of a file as a uint8 tensor (N,)."""

Image = Source | tuple[Source, ...]
"""One image, or the frames of a clip."""


def frames_of(image: Image) -> tuple[Source, ...]:
    """Return the frames of a clip, or one image as a clip of one frame."""
    return image if isinstance(image, tuple) else (image,)


SPLITS = ("train", "val", "test")


class Turn(NamedTuple):
    """One turn of a conversation.

    Attributes:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        parts: the texts of the turn in their order; None stands for the next image of the sample.
        learned: whether training learns the text; only of the assistant.

    Example:
        >>> import velm_lightning as velm
        >>> velm.Turn("user", (None, "What is it?")).parts
        (None, 'What is it?')
    """

    role: str
    parts: tuple[str | None, ...]
    learned: bool = False

    @property
    def text(self) -> str:
        """The texts of the turn, joined."""
        return "".join(part for part in self.parts if part is not None)


class Sample(NamedTuple):
    """One example, in human-readable form, as a dataset returns it.

    Attributes:
        key: unique and stable within its split; predictions and paired tests are joined by it.
        image: a file, a part of a file, a uint8 tensor (3, H, W), the bytes of a file as a uint8 tensor (N,), or the
            frames of a clip; the images of a conversation, any number, in the order of their marks.
        text: the prompt: a question, a source sentence, a document; empty for captioning.
        target: a sentence to produce, answers with their weights, or None.
        references: answers of annotators, or reference sentences, which predictions are scored against. A sample
            with ``()`` or None is predicted and counted, but has no score.
        group: name of the sample's group, such as its question type, for scores per group; may be empty.
        turns: the turns of a conversation, from which the tokens are made; ``text`` and ``target`` are then only for
            tables. The last reply is the one that evaluation decodes.

    Example:
        >>> import velm_lightning as velm
        >>> from pathlib import Path
        >>> velm.Sample("1", Path("cat.jpg"), "what is it?", {"a cat": 1.0}, ("a cat",)).group
        ''
    """

    key: str
    image: Image
    text: str
    target: str | Mapping[str, float] | None
    references: tuple[str, ...] | None
    group: str = ""
    turns: tuple[Turn, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """The sentences that training learns: the target, or the replies of a conversation; none if it is answers."""
        if self.turns:
            return [turn.text for turn in self.turns if turn.learned]
        return [self.target] if isinstance(self.target, str) else []


class Dataset(RecordsArguments, ABC):
    """The base of datasets, which the data module reads; one class per file."""

    argument_hint: ClassVar[str] = (
        "a Dataset, such as ShapeScenes(), or use MultimodalData.from_rows for dictionaries, a DataFrame or a table"
    )
    """What to give for an argument of this type, if something else was given."""

    @abstractmethod
    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of ``train``, ``val`` or ``test`` in a stable order; empty if there is no such split.

        Raises:
            InputError: a file is missing or malformed; the message names it, the line or key, and the fix.
        """


class Tokens(NamedTuple):
    """A padded sequence of vectors, each with a block id, which determines the tokens that it can attend to.

    A token attends to the valid tokens whose block is not later than its own. Image and prompt are block 0 and attend
    to each other; target tokens are blocks 1, 2, 3, …, each of which attends to itself and to all earlier blocks.

    Attributes:
        embeddings: (B, N, D) vectors.
        mask: (B, N) bool, False on padding.
        block_ids: (B, N) int64.
        places: (B, N) int64 of image tokens at marks: the index of the text token that each directly precedes. None
            means that they precede the text.

    Example:
        >>> import velm_lightning as velm
        >>> import torch
        >>> image = velm.Tokens.of_image(torch.zeros(2, 9, 8))
        >>> image.mask.all().item(), image.block_ids.max().item()
        (True, 0)
    """

    embeddings: Tensor
    mask: Tensor
    block_ids: Tensor
    places: Tensor | None = None

    def can_attend_to(self, other: Tokens, causal: bool = False) -> Tensor:
        """Return the attention mask (B, N, M) bool from the N tokens of ``self`` to the M tokens of ``other``.

        With ``causal`` tokens further right are masked within a block also; ``self`` is then the last N tokens of
        ``other``.
        """
        allowed = (other.block_ids[:, None, :] <= self.block_ids[:, :, None]) & other.mask[:, None, :]
        return allowed.tril(allowed.shape[2] - allowed.shape[1]) if causal else allowed

    def with_embeddings(self, x: Tensor) -> Tokens:
        """Return tokens with the vectors ``x`` (B, N, D') and the same mask, block ids and places."""
        return Tokens(x, self.mask, self.block_ids, self.places)

    def rows(self, index: Tensor) -> Tokens:
        """Return the rows of the batch at ``index`` (B',), which may contain repetitions."""
        return Tokens(*(None if field is None else field[index] for field in self))  # type: ignore[arg-type]

    def slice(self, start: int = 0, end: int | None = None) -> Tokens:
        """Return the tokens from ``start`` to before ``end`` of every row; None means up to the last."""
        return Tokens(*(None if field is None else field[:, start:end] for field in self))  # type: ignore[arg-type]

    def at_marks(self, places: Tensor, block_ids: Tensor) -> Tokens:
        """Return the tokens (B K, M, D) of K images per sample as (B, K M, D).

        Args:
            places: (B, K) index of the text token that each image precedes, -1 for no image.
            block_ids: (B, K) block of each image.
        """
        each = self.mask.shape[1]
        places = places.repeat_interleave(each, 1)  # (B, K M)
        embeddings = self.embeddings.reshape(*places.shape, self.embeddings.shape[2])
        mask = self.mask.reshape(places.shape) & (places >= 0)
        return Tokens(embeddings, mask, block_ids.repeat_interleave(each, 1), places)

    def mean(self) -> Tensor:
        """Return the mean (B, D) of the valid tokens; zeros for a row without any."""
        weight = self.mask[..., None].to(self.embeddings.dtype)
        return (self.embeddings * weight).sum(1) / weight.sum(1).clamp(min=1)

    @staticmethod
    def of_image(x: Tensor) -> Tokens:
        """Return ``x`` (B, N, D) as valid tokens of block 0."""
        shape = x.shape[:2]
        mask = torch.ones(shape, dtype=torch.bool, device=x.device)
        return Tokens(x, mask, torch.zeros(shape, dtype=torch.long, device=x.device))

    @staticmethod
    def cat(parts: Sequence[Tokens]) -> Tokens:
        """Concatenate sequences along their length, in this order: (B, N1 + N2 + …, D)."""
        return Tokens(*(torch.cat(field, dim=1) for field in zip(*(part[:3] for part in parts), strict=True)))


class ImageTransform(NamedTuple):
    """The preprocessing of an image encoder; the data module applies the geometry, the encoder the normalisation.

    Attributes:
        size: side of a square image in pixels, or height and width; with ``tiles``, of the thumbnail and of each tile.
        resize: ``squash`` resizes to ``size``; ``crop`` resizes to the smallest image of the same aspect ratio that
            covers ``size`` / ``crop_ratio`` and crops the centre, like torchvision's ``ImageClassification`` preset;
            ``pad`` resizes to the largest one that fits into ``size`` and fills the rest with the mean colour;
            ``stretch-to-grid`` is ``squash`` to a ``size`` that the encoder rounds up to its patches.
        crop_ratio: share of the resized image that the centre crop keeps, per side.
        interpolation: resampling filter.
        mean: channel means of pixels scaled to 0…1.
        std: channel standard deviations of pixels scaled to 0…1.
        tiles: largest number of tiles of an image, which follow its thumbnail; 0 means an image without tiles.
        depth: how images of more than 8 bits per value become 8 bits: ``auto`` by the bits that an image uses,
            ``percentile`` by its 1st to 99th percentile, ``fixed`` by ``depth_range``.
        depth_range: the values that become black and white with ``depth: fixed``.

    Example:
        >>> ImageTransform((24, 96), resize="pad").shape
        (3, 24, 96)
    """

    size: int | tuple[int, int]
    resize: Literal["squash", "crop", "pad", "stretch-to-grid"] = "squash"
    crop_ratio: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    tiles: int = 0
    depth: Literal["auto", "percentile", "fixed"] = "auto"
    depth_range: tuple[float, float] | None = None

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of an image, or of a tile."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (3, H, W) of the tensor that holds an image, or its thumbnail and tiles; see ``images.tiles``."""
        height, width = self.sides
        return (3, (self.tiles + 1) * height + 1, width) if self.tiles else (3, height, width)


class Batch(NamedTuple):
    """Collated samples; a NamedTuple, which collation, device transfer and DDP handle without additional code.

    Attributes:
        keys: B sample keys.
        image: (B, 3, H, W) uint8, or (B, T, 3, H, W) for clips, or (B, K, 3, H, W) for images at marks.
        ids: (B, N) int64 word pieces: start, prompt, separator, then the target sentence and its end, then padding.
        mask: (B, N) bool, False on padding.
        block_ids: (B, N) int64: 0 on the prompt, 1, 2, 3, … on the target sentence. In a conversation every word of
            the assistant has a block of its own, and everything between two of its turns has one.
        answers: (B, A) float weights over the answer vocabulary; A = 0 if the task has none.
        prompts: B prompts as written.
        references: B tuples of reference answers or sentences.
        groups: B group names.
        image_names: B names of images: the key of the first sample of the split with that image.
        target_mask: (B, N) bool, the words that are learned.
        image_places: (B, K) int64, the index of the token that each image directly precedes, -1 for no image. K is 0
            if every sample has one image or clip, which precedes the text.
        image_block_ids: (B, K) int64, the block of each image.
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
    image_names: tuple[str, ...]
    target_mask: Tensor
    image_places: Tensor
    image_block_ids: Tensor

    @property
    def size(self) -> int:
        """Number of samples B."""
        return len(self.keys)

    @property
    def words(self) -> TextInput:
        """The text of the batch."""
        return TextInput(self.ids, self.mask, self.block_ids)

    @property
    def last_images(self) -> Tensor:
        """The number (B,) of the last image of each conversation; 0 if there is none, and for other samples."""
        return ((self.image_places >= 0).sum(1) - 1).clamp(min=0)

    def first(self, count: int) -> Batch:
        """Return the first ``count`` samples."""
        return Batch._make(field[:count] for field in self)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on ``device``; the host does not wait for a copy to a GPU."""
        ahead = torch.device(device).type != "cpu"  # a copy to the host would be read before it is complete
        return Batch._make(
            field.to(device, non_blocking=ahead) if isinstance(field, Tensor) else field for field in self
        )


class TextInput(NamedTuple):
    """The text of a batch: the fields of ``Batch`` of the same names.

    Attributes:
        ids: (B, N) int64 word pieces.
        mask: (B, N) bool, False on padding.
        block_ids: (B, N) int64.
    """

    ids: Tensor
    mask: Tensor
    block_ids: Tensor

    def rows(self, index: Tensor) -> TextInput:
        """Return the rows of the batch at ``index`` (B',), which may contain repetitions."""
        return TextInput(*(field[index] for field in self))


class Prediction(NamedTuple):
    """The prediction for one sample; every reported metric is computed from such rows.

    Attributes:
        key: the sample's key.
        group: the sample's group.
        prompt: the prompt as written.
        prediction: the predicted text.
        references: texts that the prediction is scored against; may be empty.
        score: the headline metric of this sample, 0…1 for accuracies; NaN without references.
        confidence: probability that the model assigns to its prediction.
        loss: the sample's loss; NaN without a target.
        image: name of the sample's image, shared by all samples with that image; confidence intervals resample by it.
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

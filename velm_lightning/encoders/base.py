"""Base classes of image and text encoders: the interface that a fusion uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.layer_control import LayerControl, no_layers
from velm_lightning.io.configurable import Configurable
from velm_lightning.nn.buildable import Buildable
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import ImageTransform, InputError, TextInput, Tokens


class Encoder(Configurable, nn.Module, ABC):
    """Base class of image and text encoders: layer groups that can be frozen.

    Attributes:
        dim: width of a token.
        pretrained: whether its weights are pretrained, so that they are trained with a lower learning rate.
    """

    dim: int
    pretrained: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[nn.Module] = []

    @property
    def layer_groups(self) -> Sequence[nn.Module]:
        """The layer groups from input to output, for freezing and layer-wise learning rates; by default one group."""
        return [self]

    @property
    def frozen(self) -> bool:
        """Whether no parameter is trainable."""
        return not any(parameter.requires_grad for parameter in self.parameters())

    def freeze(self, trainable: int) -> None:
        """Freeze all but the last ``trainable`` layer groups: 0 freezes all, -1 none."""
        frozen = [self] if trainable == 0 else [] if trainable < 0 else list(self.layer_groups)[:-trainable]
        for group in frozen:
            group.requires_grad_(False)
        self.keep(frozen)

    def keep(self, sections: Sequence[nn.Module]) -> None:
        """Keep only these layer groups in evaluation mode: no dropout, and no updates of batch-norm statistics."""
        self._kept = list(sections)
        self.train(self.training)

    @override
    def train(self, mode: bool = True) -> Encoder:
        """Set the training mode of every part except the layer groups that ``keep`` holds in evaluation mode."""
        super().train(mode)
        for part in self._kept:
            if part is self:
                super().train(False)
            else:
                part.eval()
        return self


class ImageEncoder(Encoder):
    """Base class of encoders from images to a grid of tokens.

    A subclass sets ``dim`` and ``grid`` and implements ``encode``.

    Attributes:
        grid: rows and columns of tokens per image; their product is the number of tokens per frame.
        transform: image size and resizing, applied by the data module, and normalisation, applied by ``forward``.
        depths: numbers of the layers, from 1, whose tokens precede those of the last one; see ``open_depths``.

    Example:
        >>> import velm_lightning as velm
        >>> from torch import nn
        >>> from velm_lightning.types import ImageTransform
        >>> class Patches(velm.ImageEncoder):
        ...     def __init__(self, size: int = 16) -> None:
        ...         super().__init__(ImageTransform(size))
        ...         self.dim, self.grid = 8, (size // 4, size // 4)
        ...         self.patches = nn.Conv2d(3, 8, 4, stride=4)
        ...     def encode(self, pixels):
        ...         return self.patches(pixels).flatten(2).transpose(1, 2)
        >>> Patches().grid
        (4, 4)
    """

    grid: tuple[int, int]
    mean: Tensor
    std: Tensor

    def __init__(self, transform: ImageTransform) -> None:
        super().__init__()
        self.transform = transform
        self.depths: tuple[int, ...] = ()
        self.register_buffer("mean", torch.tensor(transform.mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(transform.std).view(3, 1, 1) * 255, persistent=False)

    @property
    def of_frames(self) -> ImageEncoder:
        """The part that encodes each frame independently; if frozen, its tokens can be computed once and cached."""
        return self

    def open_depths(self, count: int) -> None:
        """Let ``encode`` return the tokens of ``count`` earlier layers, evenly spaced, before those of the last one.

        A fusion that uses several depths calls this once. The output of ``encode`` is then (B, (count + 1) * M, dim).

        Raises:
            InputError: the encoder has not so many layers with tokens of one width on one grid.
        """
        raise InputError(
            f"image_encoder: a {type(self).__name__} has tokens of one depth only: choose SmallCNN or a Vision "
            "Transformer (SmallViT, HFImageEncoder), or a fusion that uses one depth"
        )

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels (B, 3, H, W) into tokens (B, M, dim) in row-major order of the grid."""

    def forward(self, image: Tensor) -> Tokens:
        """Encode images or clips into tokens of block 0.

        Args:
            image: uint8 images (B, 3, H, W) or clips (B, T, 3, H, W), or cached floating-point outputs of ``encode``,
                (B, M, dim) or (B, T, M, dim), which are used unchanged.

        Returns:
            tokens (B, M, dim), or (B, T * M, dim) for clips.
        """
        if image.is_floating_point():
            return Tokens.of_image(image.reshape(len(image), -1, self.dim).to(self.mean.dtype))
        frames = image.flatten(0, 1) if image.ndim == 5 else image
        tokens = self.encode((frames.to(self.mean.dtype) - self.mean) / self.std)  # (B * T, M, dim)
        return Tokens.of_image(tokens.reshape(len(image), -1, self.dim))


def evenly_spaced(count: int, depth: int) -> tuple[int, ...]:
    """Return the numbers, from 1, of ``count`` evenly spaced layers before the last of ``depth``.

    Raises:
        InputError: there are not so many.
    """
    if not 1 <= count < depth:
        raise InputError(
            f"image_encoder: it has {depth} layers, of which 1 to {depth - 1} precede the last one, got {count}: lower "
            "the number of depths"
        )
    return tuple(round(depth * place / (count + 1)) for place in range(1, count + 1))


class TextEncoder(Encoder, Buildable):
    """Base class of encoders from word pieces to tokens, in two steps between which a fusion can insert the image.

    ``embed`` maps word pieces to the embedding space; ``trunk`` encodes any tokens of that space. Layers whose size
    depends on the vocabulary are created by ``build``.

    Attributes:
        causal: whether a prompt token attends only to earlier tokens, so that the prompt is pooled from its last token;
            a bidirectional trunk pools it from the first.
        embedding: the word embedding, which heads may share.
        tokenizer_argument: name of the constructor argument that locates the encoder's tokeniser; None means that the
            encoder accepts any tokeniser.

    Example:
        >>> import velm_lightning as velm
        >>> isinstance(velm.TransformerTextEncoder(), velm.TextEncoder)
        True
    """

    causal: bool
    embedding: nn.Embedding
    tokenizer_argument: str | None = None

    @property
    def scale(self) -> Tensor | float:
        """The scale of the entries of an embedded word, to which image tokens for the trunk are scaled."""
        return 1.0

    @property
    def lm_head(self) -> nn.Module | None:
        """The pretrained language-model head (..., dim) -> (..., V), for generation; None if there is none."""
        return None

    @abstractmethod
    def build(self, vocabulary: Vocabulary) -> None:
        """Create the layers that depend on the vocabulary; the fusion calls this once."""

    @abstractmethod
    def embed(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        """Embed word pieces (B, N) as tokens (B, N, dim)."""

    @abstractmethod
    def trunk(self, tokens: Tokens, cache: Cache | None = None, control: LayerControl | None = None) -> Tokens:
        """Encode embedded tokens (B, N, dim), which attend to each other and to cached tokens by the block rule.

        A fusion passes ``control`` only if ``open_layers`` returned layers, so that a trunk without can omit it.
        """

    def open_layers(self) -> Sequence[nn.Module]:
        """Return the layers of the trunk from input to output and prepare them for a ``LayerControl``.

        Fusions that act inside the trunk call this once, after ``build``.

        Raises:
            InputError: the trunk has no layers that run one after the other on hidden states (B, N, dim).
        """
        raise no_layers(type(self).__name__)

    def pool(self, tokens: Tokens) -> Tensor:
        """Return one vector per prompt, (B, dim)."""
        if not self.causal:
            return tokens.embeddings[:, 0]
        prompt = tokens.mask & (tokens.block_ids == 0)  # (B, N)
        last = (prompt * torch.arange(1, prompt.shape[1] + 1, device=prompt.device)).argmax(1)
        return tokens.embeddings[torch.arange(len(last), device=last.device), last]

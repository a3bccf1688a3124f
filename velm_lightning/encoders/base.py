"""What a fusion asks of an image encoder and of a text encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from velm_lightning.io.configurable import Configurable
from velm_lightning.nn.buildable import Buildable
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import ImageTransform, TextInput, Tokens


class Encoder(Configurable, nn.Module, ABC):
    """What encoders of images and of texts share: parts that may be frozen, and then stay as they are.

    Attributes:
        dim: width of a token.
        pretrained: whether its weights come from elsewhere, and so learn at a lower rate.
    """

    dim: int
    pretrained: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[nn.Module] = []

    @property
    def layer_groups(self) -> Sequence[nn.Module]:
        """Its parts from input to output, as they are frozen, unfrozen and slowed down; by default the whole."""
        return [self]

    @property
    def frozen(self) -> bool:
        """Whether nothing in it learns."""
        return not any(parameter.requires_grad for parameter in self.parameters())

    def freeze(self, trainable: int) -> None:
        """Freeze all but the last ``trainable`` sections: 0 freezes all, -1 none."""
        frozen = [self] if trainable == 0 else [] if trainable < 0 else list(self.layer_groups)[:-trainable]
        for section in frozen:
            section.requires_grad_(False)
        self.keep(frozen)

    def keep(self, sections: Sequence[nn.Module]) -> None:
        """Hold these sections, and no others, in evaluation mode: no dropout, and statistics that stay put."""
        self._kept = list(sections)
        self.train(self.training)

    def train(self, mode: bool = True) -> Encoder:
        """Switch the mode of all that is not held in evaluation mode."""
        super().train(mode)
        for part in self._kept:
            if part is self:
                super().train(False)
            else:
                part.eval()
        return self


class ImageEncoder(Encoder):
    """Pictures in, a grid of tokens out. A subclass sets ``dim`` and ``grid`` and writes ``encode``.

    Attributes:
        grid: rows and columns of tokens in a picture; their product is the number of tokens of a frame.
        transform: the geometry that the data module applies, and the normalisation that is applied here.
    """

    grid: tuple[int, int]
    mean: Tensor
    std: Tensor

    def __init__(self, transform: ImageTransform) -> None:
        super().__init__()
        self.transform = transform
        self.register_buffer("mean", torch.tensor(transform.mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(transform.std).view(3, 1, 1) * 255, persistent=False)

    @property
    def of_frames(self) -> ImageEncoder:
        """The part that reads each frame alone, whose tokens may be made once and kept if it is frozen."""
        return self

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """Turn normalised pixels (B, 3, H, W) into tokens (B, N, dim), row by row of the grid."""

    def forward(self, image: Tensor) -> Tokens:
        """Turn uint8 pictures (B, 3, H, W), or clips (B, T, 3, H, W), into tokens of block 0.

        What ``encode`` made earlier, floating-point (B, N, dim) or (B, T, N, dim), is taken as it is.
        """
        if image.is_floating_point():
            return Tokens.of_image(image.reshape(len(image), -1, self.dim).to(self.mean.dtype))
        frames = image.flatten(0, 1) if image.ndim == 5 else image
        tokens = self.encode((frames.to(self.mean.dtype) - self.mean) / self.std)  # (B * T, N, dim)
        return Tokens.of_image(tokens.reshape(len(image), -1, self.dim))


class TextEncoder(Encoder, Buildable):
    """Word pieces in, tokens out, in two halves, so that a fusion may place the image between them.

    ``embed`` puts word pieces into the embedding space; ``trunk`` takes any tokens of that space. Sizes that depend on
    the vocabulary are made by ``build``.

    Attributes:
        causal: whether a prompt token sees only what came before it, so that the prompt is summed up in its last
            token; a bidirectional trunk sums it up in its first.
        embedding: the word embedding, for heads that share it.
        tokenizer_argument: the argument that says where its own tokeniser is; none where any tokeniser will do.
    """

    causal: bool
    embedding: nn.Embedding
    tokenizer_argument: str | None = None

    @property
    def scale(self) -> Tensor | float:
        """How large the entries of an embedded word are; image tokens for the trunk are brought to that size."""
        return 1.0

    @property
    def lm_head(self) -> nn.Module | None:
        """The head (..., dim) -> (..., V) that it was pretrained with, for a task that produces words; often none."""
        return None

    @abstractmethod
    def build(self, vocabulary: Vocabulary) -> None:
        """Make what depends on the vocabulary; called once, by the fusion that the encoder is given to."""

    @abstractmethod
    def embed(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        """Turn word pieces (B, N) into tokens (B, N, dim) of the embedding space."""

    @abstractmethod
    def trunk(self, tokens: Tokens, cache: Cache | None = None) -> Tokens:
        """Let tokens of the embedding space read each other, and what ``cache`` holds, by the block rule."""

    def pool(self, tokens: Tokens) -> Tensor:
        """Return the (B, dim) vectors in which the prompts are summed up."""
        if not self.causal:
            return tokens.embeddings[:, 0]
        prompt = tokens.mask & (tokens.block_ids == 0)  # (B, N)
        last = (prompt * torch.arange(1, prompt.shape[1] + 1, device=prompt.device)).argmax(1)
        return tokens.embeddings[torch.arange(len(last), device=last.device), last]

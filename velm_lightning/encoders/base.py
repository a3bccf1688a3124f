"""What a fusion asks of an image encoder and of a text encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from velm_lightning.attention import Cache
from velm_lightning.recipe import Recorded
from velm_lightning.types import ImageTransform, Tokens, Words
from velm_lightning.vocabulary import Vocabulary


class ImageEncoder(Recorded, nn.Module, ABC):
    """Pictures in, a grid of tokens out. A subclass sets ``dim``, ``grid`` and ``transform`` and writes ``encode``.

    Attributes:
        dim: width of a token.
        grid: rows and columns of tokens in a picture; their product is the number of tokens of a frame.
        transform: the geometry that the data module applies, and the normalisation that is applied here.
        pretrained: whether its weights come from elsewhere, and so learn at a lower rate.
    """

    dim: int
    grid: tuple[int, int]
    pretrained: bool = False
    mean: Tensor
    std: Tensor

    def __init__(self, transform: ImageTransform) -> None:
        super().__init__()
        self.transform = transform
        self.register_buffer("mean", torch.tensor(transform.mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(transform.std).view(3, 1, 1) * 255, persistent=False)

    @property
    def frozen(self) -> bool:
        """Whether nothing in it learns, so that its tokens may be made once and kept."""
        return not any(parameter.requires_grad for parameter in self.parameters())

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


class TextEncoder(Recorded, nn.Module, ABC):
    """Word pieces in, tokens out, in two halves, so that a fusion may place the image between them.

    ``embed`` puts word pieces into the embedding space; ``trunk`` takes any tokens of that space. Sizes that depend on
    the vocabulary are made by ``connect``.

    Attributes:
        dim: width of a token.
        causal: whether a prompt token sees only what came before it, so that the prompt is summed up in its last
            token; a bidirectional trunk sums it up in its first.
        embedding: the word embedding, for heads that share it.
        pretrained: whether its weights come from elsewhere, and so learn at a lower rate.
    """

    dim: int
    causal: bool
    embedding: nn.Embedding
    pretrained: bool = False

    @abstractmethod
    def connect(self, vocabulary: Vocabulary) -> None:
        """Make what depends on the vocabulary; called once, by the fusion that the encoder is given to."""

    @abstractmethod
    def embed(self, words: Words, cache: Cache | None = None) -> Tokens:
        """Turn word pieces (B, N) into tokens (B, N, dim) of the embedding space."""

    @abstractmethod
    def trunk(self, tokens: Tokens, cache: Cache | None = None) -> Tokens:
        """Let tokens of the embedding space read each other, and what ``cache`` holds, by the block rule."""

    def summary(self, tokens: Tokens) -> Tensor:
        """Return the (B, dim) vectors in which the prompts are summed up."""
        if not self.causal:
            return tokens.x[:, 0]
        prompt = tokens.valid & (tokens.block == 0)  # (B, N)
        last = (prompt * torch.arange(1, prompt.shape[1] + 1, device=prompt.device)).argmax(1)
        return tokens.x[torch.arange(len(last), device=last.device), last]

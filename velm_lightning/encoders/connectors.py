"""How image tokens become tokens of the text's width: the mapping network of a visual prefix."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from velm_lightning.io.configurable import Configurable
from velm_lightning.nn.attention import Block, attention_mask
from velm_lightning.nn.buildable import Buildable
from velm_lightning.types import InputError, Tokens


class Connector(Configurable, Buildable, ABC):
    """Image tokens in the image encoder's width in, tokens in the text's out, whose entries have a size of about 1."""

    @abstractmethod
    def build(self, image_dim: int, dim: int) -> None:
        """Make the layers from one width to the other; called once, by the fusion."""

    @abstractmethod
    def forward(self, image: Tokens) -> Tokens:
        """Map tokens (B, N, image_dim) to tokens (B, M, dim)."""


class LinearConnector(Connector):
    """A linear map of each token (Frozen, Tsimpoukelli et al. 2021; LLaVA, Liu et al. 2023).

    Args:
        dropout: dropout on the image encoder's features, against learning training pictures by heart.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)

    def build(self, image_dim: int, dim: int) -> None:
        """See ``Connector.build``."""
        self.map = nn.Sequential(nn.Linear(image_dim, dim), nn.LayerNorm(dim))

    def forward(self, image: Tokens) -> Tokens:
        """See ``Connector.forward``."""
        return image.with_embeddings(self.map(self.drop(image.embeddings)))


class MLPConnector(Connector):
    """A network of one hidden layer for each token (ClipCap, Mokady et al. 2021; LLaVA 1.5).

    Args:
        hidden: width of the hidden layer; by default twice the text's.
        dropout: dropout after the hidden layer.
    """

    def __init__(self, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden, self.dropout = hidden, dropout

    def build(self, image_dim: int, dim: int) -> None:
        """See ``Connector.build``."""
        hidden = self.hidden or 2 * dim
        self.map = nn.Sequential(
            nn.Linear(image_dim, hidden), nn.GELU(), nn.Dropout(self.dropout), nn.Linear(hidden, dim), nn.LayerNorm(dim)
        )

    def forward(self, image: Tokens) -> Tokens:
        """See ``Connector.forward``."""
        return image.with_embeddings(self.map(image.embeddings))


class Resampler(Connector):
    """A few learned tokens that read the image in a small Transformer, and are all that the text gets to see.

    As ClipCap's mapping network (Mokady et al. 2021), the Perceiver resampler (Alayrac et al. 2022) and Q-Former.

    Args:
        count: number of tokens, however many the image has.
        depth: layers, each of self-attention, cross-attention to the image, and feed-forward.
        heads: attention heads; divides ``dim``.
        dim: width of the layers; by default the text's.
        dropout: dropout in these layers.

    Raises:
        InputError: there is no token, or no layer.
    """

    def __init__(
        self, count: int = 10, depth: int = 2, heads: int = 4, dim: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if count < 1 or depth < 1:
            raise InputError(f"connector.count={count} and connector.depth={depth} must be at least 1")
        self.count, self.depth, self.heads, self.width, self.dropout = count, depth, heads, dim, dropout

    def build(self, image_dim: int, dim: int) -> None:
        """See ``Connector.build``."""
        width = self.width or dim
        self.image = nn.Sequential(nn.Linear(image_dim, width), nn.LayerNorm(width))
        self.queries = nn.Parameter(torch.randn(self.count, width))
        layers = [Block(width, self.heads, self.dropout, cross=True) for _ in range(self.depth)]
        self.layers = nn.ModuleList(layers)
        self.out = nn.Sequential(nn.Linear(width, dim), nn.LayerNorm(dim))

    def forward(self, image: Tokens) -> Tokens:
        """See ``Connector.forward``."""
        x = self.queries.repeat(len(image.embeddings), 1, 1)  # (B, count, width)
        mask, context = attention_mask(Tokens.of_image(x), image), self.image(image.embeddings)
        for layer in self.layers:
            x = layer(x, context=context, context_mask=mask)
        return Tokens.of_image(self.out(x))

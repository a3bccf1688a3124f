"""Connectors, which map image tokens to the width of the text encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import nn
from typing_extensions import override

from velm_lightning.errors import at_least, within
from velm_lightning.io.configurable import Configurable
from velm_lightning.nn.attention import Block, attention_mask
from velm_lightning.nn.buildable import Buildable
from velm_lightning.types import Tokens


class Connector(Configurable, Buildable, ABC):
    """Base class of maps from image tokens to tokens of the text encoder's width, with entries of unit scale.

    Attributes:
        uses_mean: whether the result depends only on the mean of the image tokens, so that cached features need not be
            read as a whole in every step. A subclass with a ``forward`` of its own states it again.
    """

    uses_mean: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Do not inherit ``uses_mean`` together with another ``forward``."""
        super().__init_subclass__(**kwargs)
        if "forward" in cls.__dict__ and "uses_mean" not in cls.__dict__:
            cls.uses_mean = False

    @abstractmethod
    def build(self, image_dim: int, dim: int) -> None:
        """Create the layers from width ``image_dim`` to width ``dim``; the fusion calls this once."""

    @abstractmethod
    def forward(self, image: Tokens) -> Tokens:
        """Map image tokens (B, M, image_dim) to tokens (B, M, dim); a resampler changes their number."""


class LinearConnector(Connector):
    """A linear map of each token (Frozen, Tsimpoukelli et al. 2021; LLaVA, Liu et al. 2023).

    Args:
        dropout: dropout on the image encoder's features, against overfitting to training images. All tokens of an
            image lose the same entries (Tompson et al. 2015), because other tokens would make up for them.

    Raises:
        InputError: ``dropout`` is not between 0 and 1.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        within(0, 1, "connector", dropout=dropout)
        self.drop = nn.Dropout1d(dropout)

    @override
    def build(self, image_dim: int, dim: int) -> None:
        self.map = nn.Sequential(nn.Linear(image_dim, dim), nn.LayerNorm(dim))

    @override
    def forward(self, image: Tokens) -> Tokens:
        features = self.drop(image.embeddings.transpose(1, 2)).transpose(1, 2)
        return image.with_embeddings(self.map(features))


class MeanConnector(Connector):
    """A linear map of the mean of the image tokens to one token, for fusions that use only the mean.

    The visual half of DeViSE (Frome et al. 2013) and VSE++ (Faghri et al. 2018). A late fusion costs far less with it,
    because the map is applied once per image instead of once per token.

    Args:
        dropout: dropout on the mean of the image encoder's features, against overfitting to training images.

    Raises:
        InputError: ``dropout`` is not between 0 and 1.
    """

    uses_mean = True

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        within(0, 1, "connector", dropout=dropout)
        self.dropout = dropout

    @override
    def build(self, image_dim: int, dim: int) -> None:
        self.map = nn.Sequential(
            nn.LayerNorm(image_dim), nn.Dropout(self.dropout), nn.Linear(image_dim, dim), nn.LayerNorm(dim)
        )

    @override
    def forward(self, image: Tokens) -> Tokens:
        mean = Tokens.of_image(self.map(image.mean())[:, None])
        return mean._replace(mask=image.mask.any(1, keepdim=True))


class MLPConnector(Connector):
    """A two-layer MLP applied to each token (ClipCap, Mokady et al. 2021; LLaVA 1.5).

    Args:
        hidden: width of the hidden layer; by default twice the text encoder's.
        dropout: dropout after the hidden layer.

    Raises:
        InputError: ``hidden`` is less than 1, or ``dropout`` is not between 0 and 1.
    """

    def __init__(self, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        at_least(1, "connector", hidden=hidden)
        within(0, 1, "connector", dropout=dropout)
        self.hidden, self.dropout = hidden, dropout

    @override
    def build(self, image_dim: int, dim: int) -> None:
        hidden = self.hidden or 2 * dim
        self.map = nn.Sequential(
            nn.Linear(image_dim, hidden), nn.GELU(), nn.Dropout(self.dropout), nn.Linear(hidden, dim), nn.LayerNorm(dim)
        )

    @override
    def forward(self, image: Tokens) -> Tokens:
        return image.with_embeddings(self.map(image.embeddings))


class Resampler(Connector):
    """A small Transformer whose learned queries attend to the image and replace its tokens.

    Similar to ClipCap's mapping network (Mokady et al. 2021), the Perceiver resampler (Alayrac et al. 2022) and the
    Q-Former (Li et al. 2023).

    Args:
        count: number of output tokens, independent of the number of image tokens.
        depth: number of layers, each with self-attention, cross-attention to the image, and a feed-forward network.
        heads: attention heads; divides ``dim``.
        dim: width of the layers; by default the text encoder's.
        dropout: dropout in the layers.

    Raises:
        InputError: A size is less than 1, or ``dropout`` is not between 0 and 1.
    """

    def __init__(
        self, count: int = 10, depth: int = 2, heads: int = 4, dim: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        at_least(1, "connector", count=count, depth=depth, heads=heads, dim=dim)
        within(0, 1, "connector", dropout=dropout)
        self.count, self.depth, self.heads, self.width, self.dropout = count, depth, heads, dim, dropout

    @override
    def build(self, image_dim: int, dim: int) -> None:
        width = self.width or dim
        self.image = nn.Sequential(nn.Linear(image_dim, width), nn.LayerNorm(width))
        self.queries = nn.Parameter(torch.randn(self.count, width))
        layers = [Block(width, self.heads, self.dropout, cross=True) for _ in range(self.depth)]
        self.layers = nn.ModuleList(layers)
        self.out = nn.Sequential(nn.Linear(width, dim), nn.LayerNorm(dim))

    @override
    def forward(self, image: Tokens) -> Tokens:
        x = self.queries.repeat(len(image.embeddings), 1, 1)  # (B, count, width)
        mask, context = attention_mask(Tokens.of_image(x), image), self.image(image.embeddings)
        for layer in self.layers:
            x = layer(x, context=context, context_mask=mask)
        return Tokens.of_image(self.out(x))

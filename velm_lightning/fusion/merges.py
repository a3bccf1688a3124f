"""How two vectors become one; a new way is a class here or in a file of the user's."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from velm_lightning.io.configurable import Configurable


class Merge(Configurable, nn.Module, ABC):
    """Two vectors of one width become one of that width; shapes broadcast as in ``torch.add``."""

    @abstractmethod
    def build(self, dim: int) -> None:
        """Make the layers for vectors of width ``dim``; called once, by the fusion."""

    @abstractmethod
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Merge ``image`` (..., D) and ``text`` (..., D) into (..., D)."""


class _Mapped(Merge):
    """A merge that maps each side by a linear layer first."""

    def build(self, dim: int) -> None:
        """See ``Merge.build``."""
        self.image, self.text = nn.Linear(dim, dim), nn.Linear(dim, dim)


class Concat(_Mapped):
    """A linear map of the concatenation, computed as the sum of a map of each, then GELU."""

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """See ``Merge.forward``."""
        merged: Tensor = nn.functional.gelu(self.image(image) + self.text(text))
        return merged


class Sum(_Mapped):
    """The sum of a linear map of each."""

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """See ``Merge.forward``."""
        mapped: Tensor = self.image(image) + self.text(text)
        return mapped


class Product(_Mapped):
    """The element-wise product of a tanh layer of each (Antol et al. 2015)."""

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """See ``Merge.forward``."""
        merged: Tensor = self.image(image).tanh() * self.text(text).tanh()
        return merged


class GatedMultimodalUnit(_Mapped):
    """A learned share of each, per dimension (gated multimodal unit, Arevalo et al. 2017)."""

    def build(self, dim: int) -> None:
        """See ``Merge.build``."""
        super().build(dim)
        self.gate_image, self.gate_text = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """See ``Merge.forward``."""
        share = (self.gate_image(image) + self.gate_text(text)).sigmoid()
        merged: Tensor = share * self.image(image).tanh() + (1 - share) * self.text(text).tanh()
        return merged


class LowRankBilinear(Merge):
    """A bilinear form of low rank (MLB, Kim et al. 2017).

    Args:
        rank: number of factors.
    """

    def __init__(self, rank: int = 256) -> None:
        super().__init__()
        self.rank = rank

    def build(self, dim: int) -> None:
        """See ``Merge.build``."""
        self.image, self.text = nn.Linear(dim, self.rank), nn.Linear(dim, self.rank)
        self.out = nn.Linear(self.rank, dim)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """See ``Merge.forward``."""
        merged: Tensor = self.out(self.image(image).tanh() * self.text(text).tanh())
        return merged


class TensorFusion(Merge):
    """The outer product of two reduced vectors, each with a constant 1 appended (Zadeh et al. 2017).

    Args:
        size: width of each vector before the product; the product has (size + 1) squared entries.
    """

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        self.size = size

    def build(self, dim: int) -> None:
        """See ``Merge.build``."""
        self.image, self.text = nn.Linear(dim, self.size), nn.Linear(dim, self.size)
        self.out = nn.Linear((self.size + 1) ** 2, dim)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """See ``Merge.forward``."""
        a, b = _with_one(self.image(image).tanh()), _with_one(self.text(text).tanh())
        merged: Tensor = self.out((a[..., :, None] * b[..., None, :]).flatten(-2))
        return merged


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)

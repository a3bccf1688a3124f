"""Merges, which combine an image vector and a text vector in late fusion."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.io.configurable import Configurable
from velm_lightning.nn.buildable import Buildable


class Merge(Configurable, Buildable, ABC):
    """Combines two vectors of equal width into one of that width; shapes broadcast as in ``torch.add``."""

    @abstractmethod
    def build(self, dim: int) -> None:
        """Create the layers for vectors of width ``dim``; called once, by the fusion."""

    @abstractmethod
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Merge ``image`` (..., D) and ``text`` (..., D) into (..., D)."""


class _Mapped(Merge):
    """The base of merges that map each side by a linear layer first."""

    @override
    def build(self, dim: int) -> None:
        self.image, self.text = nn.Linear(dim, dim), nn.Linear(dim, dim)


class Concat(_Mapped):
    """A linear map of the concatenation, computed as the sum of one map per side, followed by GELU."""

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        merged: Tensor = nn.functional.gelu(self.image(image) + self.text(text))
        return merged


class Sum(_Mapped):
    """The sum of one linear map per side."""

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        mapped: Tensor = self.image(image) + self.text(text)
        return mapped


class Product(_Mapped):
    """The element-wise product of one tanh layer per side (Antol et al. 2015)."""

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        merged: Tensor = self.image(image).tanh() * self.text(text).tanh()
        return merged


class GatedMultimodalUnit(_Mapped):
    """A convex combination of both sides with a learned gate per dimension (Arevalo et al. 2017)."""

    @override
    def build(self, dim: int) -> None:
        super().build(dim)
        self.gate_image, self.gate_text = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        gate = (self.gate_image(image) + self.gate_text(text)).sigmoid()
        merged: Tensor = gate * self.image(image).tanh() + (1 - gate) * self.text(text).tanh()
        return merged


class LowRankBilinear(Merge):
    """A low-rank bilinear form (MLB, Kim et al. 2017).

    Args:
        rank: number of factors of the bilinear form.
    """

    def __init__(self, rank: int = 256) -> None:
        super().__init__()
        self.rank = rank

    @override
    def build(self, dim: int) -> None:
        self.image, self.text = nn.Linear(dim, self.rank), nn.Linear(dim, self.rank)
        self.out = nn.Linear(self.rank, dim)

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        merged: Tensor = self.out(self.image(image).tanh() * self.text(text).tanh())
        return merged


class TensorFusion(Merge):
    """The outer product of two reduced vectors, each with a constant 1 appended (Zadeh et al. 2017).

    Args:
        size: width to which each vector is reduced; their outer product has (size + 1)² entries.
    """

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        self.size = size

    @override
    def build(self, dim: int) -> None:
        self.image, self.text = nn.Linear(dim, self.size), nn.Linear(dim, self.size)
        self.out = nn.Linear((self.size + 1) ** 2, dim)

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        a, b = _with_one(self.image(image).tanh()), _with_one(self.text(text).tanh())
        merged: Tensor = self.out((a[..., :, None] * b[..., None, :]).flatten(-2))
        return merged


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)

"""Merges by bilinear forms of the two vectors, with few parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.errors import InputError, at_least, within
from velm_lightning.fusion.merges.base import Merge


class LowRankBilinear(Merge):
    """A low-rank bilinear form (MLB, Kim et al. 2017).

    Args:
        rank: number of factors of the bilinear form.

    Raises:
        InputError: ``rank`` is less than 1.
    """

    def __init__(self, rank: int = 256) -> None:
        super().__init__()
        at_least(1, "merge", rank=rank)
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

    Raises:
        InputError: ``size`` is less than 1.
    """

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        at_least(1, "merge", size=size)
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


class Mutan(Merge):
    """A Tucker decomposition of the bilinear form, whose core has low rank (MUTAN, Ben-younes et al. 2017).

    Args:
        size: width to which each vector is reduced, and width of the core's output.
        rank: rank of each slice of the core.

    Raises:
        InputError: ``size`` or ``rank`` is less than 1.
    """

    def __init__(self, size: int = 128, rank: int = 5) -> None:
        super().__init__()
        at_least(1, "merge", size=size, rank=rank)
        self.size, self.rank = size, rank

    @override
    def build(self, dim: int) -> None:
        self.image, self.text = nn.Linear(dim, self.size), nn.Linear(dim, self.size)
        self.core_image = nn.Linear(self.size, self.size * self.rank)
        self.core_text = nn.Linear(self.size, self.size * self.rank)
        self.out = nn.Linear(self.size, dim)

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        a, b = self.core_image(self.image(image).tanh()), self.core_text(self.text(text).tanh())
        merged: Tensor = self.out((a * b).unflatten(-1, (self.size, self.rank)).sum(-1))
        return merged


class FactorizedBilinear(Merge):
    """Products of factors, summed in groups and normalised (MFB, Yu et al. 2017).

    Args:
        factors: number of factors per output.
        dropout: dropout on the products.

    Raises:
        InputError: ``factors`` is less than 1, or ``dropout`` is not between 0 and 1.
    """

    def __init__(self, factors: int = 5, dropout: float = 0.1) -> None:
        super().__init__()
        at_least(1, "merge", factors=factors)
        within(0, 1, "merge", dropout=dropout)
        self.factors, self.drop = factors, nn.Dropout(dropout)

    @override
    def build(self, dim: int) -> None:
        self.image, self.text = nn.Linear(dim, dim * self.factors), nn.Linear(dim, dim * self.factors)

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        products = self.drop(self.image(image) * self.text(text))
        return _normalized(products.unflatten(-1, (-1, self.factors)).sum(-1))


class BlockTerm(Merge):
    """A block-term decomposition: one low-rank bilinear form per chunk of the vectors (BLOCK, Ben-younes et al. 2019).

    Args:
        size: width to which each vector is mapped.
        chunks: number of chunks of equal width; divides ``size``.
        rank: rank of the bilinear form of a chunk.

    Raises:
        InputError: an argument is less than 1, or ``chunks`` does not divide ``size``.
    """

    def __init__(self, size: int = 160, chunks: int = 10, rank: int = 5) -> None:
        super().__init__()
        at_least(1, "merge", size=size, chunks=chunks, rank=rank)
        if size % chunks:
            raise InputError(f"merge.chunks must divide merge.size ({size}), got {chunks}")
        self.size, self.chunks, self.rank = size, chunks, rank

    @override
    def build(self, dim: int) -> None:
        width = self.size // self.chunks
        self.image, self.text = nn.Linear(dim, self.size), nn.Linear(dim, self.size)
        self.cores_image = nn.ModuleList(nn.Linear(width, width * self.rank) for _ in range(self.chunks))
        self.cores_text = nn.ModuleList(nn.Linear(width, width * self.rank) for _ in range(self.chunks))
        self.out = nn.Linear(self.size, dim)

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        chunks = zip(
            self.cores_image, self.image(image).chunk(self.chunks, -1),
            self.cores_text, self.text(text).chunk(self.chunks, -1),
            strict=True,
        )  # fmt: skip
        products = ((core_a(a) * core_b(b)).unflatten(-1, (-1, self.rank)).sum(-1) for core_a, a, core_b, b in chunks)
        merged: Tensor = self.out(torch.cat([_normalized(product) for product in products], dim=-1))
        return merged


def _normalized(x: Tensor) -> Tensor:
    """Return the signed square roots of the entries, divided by their Euclidean norm."""
    return F.normalize(x.sign() * (x.abs() + 1e-12).sqrt(), dim=-1)


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)

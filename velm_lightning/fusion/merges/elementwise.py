"""Merges that combine the two vectors entry by entry."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.fusion.merges.base import Merge


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


class FiLM(Merge):
    """A scale and a shift of every entry of the image, computed from the text (Perez et al. 2018)."""

    @override
    def build(self, dim: int) -> None:
        self.image, self.film = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        scale, shift = self.film(text).chunk(2, dim=-1)
        merged: Tensor = nn.functional.relu((1 + scale) * self.image(image) + shift)
        return merged

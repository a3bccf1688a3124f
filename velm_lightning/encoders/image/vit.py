"""A small Vision Transformer, trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder, evenly_spaced
from velm_lightning.encoders.image.geometry import Size, on_grid, transform_of
from velm_lightning.errors import at_least, within
from velm_lightning.nn.attention import Block
from velm_lightning.types import ImageTransform


class SmallViT(ImageEncoder):
    """A Vision Transformer (Dosovitskiy et al. 2021) without class token: one token per patch.

    Args:
        size: side of the image in pixels, or height and width.
        patch: side of a patch in pixels; divides ``size``.
        dim: width of a token.
        depth: number of layers.
        heads: attention heads; divides ``dim``.
        dropout: dropout in attention and residual branches.
        transform: changes of fields of ``ImageTransform``, such as ``{"resize": "pad"}``.

    Raises:
        InputError: ``patch`` does not divide ``size``, ``heads`` does not divide ``dim``, a size is less than 1, or
            ``dropout`` is not between 0 and 1.

    Example:
        >>> import velm_lightning as velm
        >>> velm.SmallViT(48, patch=8, dim=64).grid
        (6, 6)
    """

    def __init__(
        self,
        size: Size = 64,
        patch: int = 8,
        dim: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        transform: Mapping[str, Any] | None = None,
    ) -> None:
        fault = f"image_encoder.patch must divide image_encoder.size ({size}), got {patch}"
        at_least(1, "image_encoder", dim=dim, depth=depth)
        within(0, 1, "image_encoder", dropout=dropout)
        fitted, grid = on_grid(transform_of(ImageTransform(64), size, transform), patch, fault)
        super().__init__(fitted)
        self.dim, self.grid = dim, grid
        self.patches = nn.Conv2d(3, dim, patch, stride=patch)
        self.position = nn.Parameter(torch.randn(grid[0] * grid[1], dim) * 0.5)
        self.layers = nn.ModuleList(Block(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    @override
    def open_depths(self, count: int) -> None:
        self.depths = evenly_spaced(count, len(self.layers))

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2) + self.position  # (B, M, D)
        earlier: list[Tensor] = []
        for number, layer in enumerate(self.layers, 1):
            x = layer(x)
            if number in self.depths:
                earlier.append(x)
        tokens: Tensor = self.norm(x)
        return torch.cat([*earlier, tokens], 1) if earlier else tokens

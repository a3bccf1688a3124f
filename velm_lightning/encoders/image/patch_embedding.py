"""A patch embedding, for trunks that process pixels themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.encoders.image.geometry import Size, on_grid, transform_of
from velm_lightning.encoders.image.patches import cut
from velm_lightning.errors import at_least
from velm_lightning.types import ImageTransform


class PatchEmbedding(ImageEncoder):
    """A linear map of every patch plus embeddings of its row and its column, without any layer.

    With early fusion the text trunk is then the only encoder of the image: ViLT (Kim et al. 2021), Fuyu (Bavishi et
    al. 2023).

    Args:
        size: side of the image in pixels, or height and width.
        patch: side of a patch in pixels; divides ``size``.
        dim: width of a token.
        transform: changes of fields of ``ImageTransform``, such as ``{"resize": "pad"}``.

    Raises:
        InputError: ``patch`` does not divide ``size``, or ``dim`` is less than 1.

    Example:
        >>> PatchEmbedding(size=32, patch=8, dim=16)(torch.zeros(2, 3, 32, 32).byte()).embeddings.shape
        torch.Size([2, 16, 16])
    """

    def __init__(
        self, size: Size = 64, patch: int = 8, dim: int = 128, transform: Mapping[str, Any] | None = None
    ) -> None:
        fault = f"image_encoder.patch must divide image_encoder.size ({size}), got {patch}"
        at_least(1, "image_encoder", dim=dim)
        fitted, grid = on_grid(transform_of(ImageTransform(64), size, transform), patch, fault)
        super().__init__(fitted)
        self.dim, self.grid, self.patch = dim, grid, patch
        self.map = nn.Linear(3 * patch**2, dim)
        self.row, self.column = (nn.Parameter(torch.randn(side, dim) * 0.5) for side in grid)

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        positions = (self.row[:, None] + self.column[None]).flatten(0, 1)  # (M, D)
        tokens: Tensor = self.map(cut(pixels, self.patch)) + positions
        return tokens

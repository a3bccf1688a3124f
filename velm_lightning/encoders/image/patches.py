"""Image patches as tokens without learned parameters, and their inverse, for image generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.encoders.image.geometry import Size, on_grid, transform_of
from velm_lightning.types import ImageTransform


class Patches(ImageEncoder):
    """An encoder without parameters whose tokens are the pixels of each patch, in -1…1; ``join`` is its inverse.

    With a connector, this is the patch embedding of a Vision Transformer.

    Args:
        size: side of the image in pixels, or height and width.
        patch: side of a patch in pixels; divides ``size``.
        transform: changes of fields of ``ImageTransform``, such as ``{"resize": "pad"}``.

    Raises:
        InputError: ``patch`` does not divide ``size``.
    """

    def __init__(self, size: Size = 32, patch: int = 8, transform: Mapping[str, Any] | None = None) -> None:
        fault = f"image_encoder.patch must divide image_encoder.size ({size}), got {patch}"
        fitted, grid = on_grid(transform_of(ImageTransform(64), size, transform), patch, fault)
        super().__init__(fitted)
        self.dim, self.grid = 3 * patch**2, grid

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        return cut(pixels, self.transform.sides[0] // self.grid[0])


def cut(pixels: Tensor, patch: int) -> Tensor:
    """Cut images (B, 3, H, W) into patches (B, M, 3 * patch * patch), in row-major order."""
    batch, channels, height, width = pixels.shape
    cells = pixels.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch**2)


def join(patches: Tensor, patch: int) -> Tensor:
    """Return the square images (B, 3, H, W) that consist of patches (B, M, 3 * patch * patch)."""
    side = round(patches.shape[1] ** 0.5)
    cells = patches.reshape(len(patches), side, side, 3, patch, patch)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), 3, side * patch, side * patch)

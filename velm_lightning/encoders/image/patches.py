"""Pictures cut into patches, and nothing else: what is drawn is such patches."""

from __future__ import annotations

from torch import Tensor

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.types import ImageTransform, InputError


class Patches(ImageEncoder):
    """The pixels -1…1 of each patch as a token; nothing is learned, and ``join`` makes the picture again.

    With a connector, this is the patch embedding of a Vision Transformer.

    Args:
        size: side of the picture in pixels.
        patch: side of a patch in pixels; divides ``size``.
    """

    def __init__(self, size: int = 32, patch: int = 8) -> None:
        super().__init__(ImageTransform(size))
        side, rest = divmod(size, patch)
        if rest or not side:
            raise InputError(f"patch={patch} does not divide size={size}")
        self.dim, self.grid = 3 * patch**2, (side, side)

    def encode(self, pixels: Tensor) -> Tensor:
        """See ``ImageEncoder.encode``."""
        return cut(pixels, self.transform.size // self.grid[0])


def cut(pixels: Tensor, patch: int) -> Tensor:
    """Cut pictures (B, 3, H, W) into patches (B, N, 3 * patch * patch), row by row."""
    batch, channels, height, width = pixels.shape
    cells = pixels.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch**2)


def join(patches: Tensor, patch: int) -> Tensor:
    """Put patches (B, N, 3 * patch * patch) of a square picture together again: (B, 3, H, W)."""
    side = round(patches.shape[1] ** 0.5)
    cells = patches.reshape(len(patches), side, side, 3, patch, patch)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), 3, side * patch, side * patch)

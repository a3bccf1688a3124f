"""MyEncoder: an image encoder of strided convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from velm_lightning.encoders import ImageEncoder
from velm_lightning.types import ImageTransform


class MyEncoder(ImageEncoder):
    """Encodes an image as a grid of tokens with three convolutions of stride 2.

    Args:
        size: side of the square image in pixels, a multiple of 8.
        dim: width of a token.
    """

    def __init__(self, size: int = 48, dim: int = 64) -> None:
        super().__init__(ImageTransform(size))
        self.dim, self.grid = dim, (size // 8, size // 8)
        self.layers = nn.Sequential(
            nn.Conv2d(3, dim, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(dim, dim, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(dim, dim, 3, stride=2, padding=1), nn.GELU(),
        )  # fmt: skip

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels (B, 3, H, W) into tokens (B, M, dim), row by row of the grid."""
        features: Tensor = self.layers(pixels)  # (B, dim, H / 8, W / 8)
        return features.flatten(2).transpose(1, 2)

"""A small convolutional image encoder, trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.types import ImageTransform, InputError


class _Stage(nn.Sequential):
    """Two 3x3 convolutions with batch norm, the first of which halves the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class SmallCNN(ImageEncoder):
    """A convolutional network whose last feature map gives the tokens, with learned position embeddings.

    Args:
        size: side of the image in pixels, a multiple of ``2 ** len(widths)``.
        widths: channels of each stage; every stage halves the resolution.
        dim: width of a token.

    Raises:
        InputError: ``size`` is not a multiple of ``2 ** len(widths)``.

    Example:
        >>> import velm_lightning as velm
        >>> velm.SmallCNN(48, widths=(16, 32, 64), dim=64).grid
        (6, 6)
    """

    def __init__(self, size: int = 64, widths: Sequence[int] = (32, 64, 128), dim: int = 128) -> None:
        super().__init__(ImageTransform(size))
        side, rest = divmod(size, 2 ** len(widths))
        if rest or not side:
            raise InputError(
                f"image_encoder.size must be a multiple of {2 ** len(widths)} for {len(widths)} stages, got {size}"
            )
        self.dim, self.grid = dim, (side, side)
        self.stages = stages(3, widths)
        self.out = nn.Sequential(nn.Linear(widths[-1], dim), nn.LayerNorm(dim))
        self.position = nn.Parameter(torch.randn(side * side, dim) * 0.5)

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        cells = self.stages(pixels.contiguous(memory_format=torch.channels_last))  # (B, C, h, w)
        tokens: Tensor = self.out(cells.flatten(2).transpose(1, 2)) + self.position
        return tokens


def stages(inputs: int, widths: Sequence[int]) -> nn.Sequential:
    """Return stages of these widths, the first of which has ``inputs`` input channels."""
    return nn.Sequential(*(_Stage(a, b) for a, b in zip([inputs, *widths], widths, strict=False)))

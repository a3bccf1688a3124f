"""A small convolutional image encoder, trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder, evenly_spaced
from velm_lightning.encoders.image.geometry import Size, on_grid, transform_of
from velm_lightning.errors import at_least
from velm_lightning.types import ImageTransform


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
        size: side of the image in pixels, or height and width, multiples of ``2 ** len(widths)``.
        widths: channels of each stage; every stage halves the resolution.
        dim: width of a token.
        transform: changes of fields of ``ImageTransform``, such as ``{"resize": "pad"}``.

    Raises:
        InputError: ``size`` is not a multiple of ``2 ** len(widths)``, or a width is less than 1.

    Example:
        >>> import velm_lightning as velm
        >>> velm.SmallCNN(48, widths=(16, 32, 64), dim=64).grid
        (6, 6)
    """

    def __init__(
        self,
        size: Size = 64,
        widths: Sequence[int] = (32, 64, 128),
        dim: int = 128,
        transform: Mapping[str, Any] | None = None,
    ) -> None:
        at_least(1, "image_encoder", dim=dim, widths=min(widths, default=0))
        cell = 2 ** len(widths)
        fault = f"image_encoder.size must be a multiple of {cell} for {len(widths)} stages, got {size}"
        fitted, grid = on_grid(transform_of(ImageTransform(64), size, transform), cell, fault)
        super().__init__(fitted)
        self.dim, self.grid, self.widths = dim, grid, tuple(widths)
        self.stages = stages(3, widths)
        self.out = _to_tokens(widths[-1], dim)
        self.position = nn.Parameter(torch.randn(grid[0] * grid[1], dim) * 0.5)

    @override
    def open_depths(self, count: int) -> None:
        """Add the tokens of earlier stages, whose maps are averaged over the cells of the last one."""
        self.depths = evenly_spaced(count, len(self.widths))
        self.earlier = nn.ModuleList(_to_tokens(self.widths[number - 1], self.dim) for number in self.depths)

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        cells = pixels.contiguous(memory_format=torch.channels_last)  # (B, C, h, w)
        earlier: list[Tensor] = []
        for number, stage in enumerate(self.stages, 1):
            cells = stage(cells)
            if number in self.depths:
                averaged = F.adaptive_avg_pool2d(cells, self.grid).flatten(2).transpose(1, 2)
                earlier.append(self.earlier[len(earlier)](averaged))
        tokens: Tensor = self.out(cells.flatten(2).transpose(1, 2)) + self.position
        return torch.cat([*earlier, tokens], 1) if earlier else tokens


def _to_tokens(channels: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, dim), nn.LayerNorm(dim))


def stages(inputs: int, widths: Sequence[int]) -> nn.Sequential:
    """Return stages of these widths, the first of which has ``inputs`` input channels."""
    return nn.Sequential(*(_Stage(a, b) for a, b in zip([inputs, *widths], widths, strict=False)))

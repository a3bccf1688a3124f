"""Frames of a clip as an image: any image encoder, told when each frame was seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.types import InputError, Tokens


class VideoEncoder(ImageEncoder):
    """An image encoder that reads each frame, and a learned vector for each frame's place in time.

    Without it the frames of a clip are a set. A frozen encoder's tokens are kept as for single pictures.

    Args:
        encoder: reads one frame.
        frames: most frames of a clip.
    """

    def __init__(self, encoder: ImageEncoder, frames: int = 16) -> None:
        super().__init__(encoder.transform)
        self.encoder, self.dim, self.grid = encoder, encoder.dim, encoder.grid
        self.time = nn.Parameter(torch.randn(frames, encoder.dim) * 0.02)

    @property
    def layer_groups(self) -> Sequence[nn.Module]:
        """See ``Encoder.layer_groups``."""
        return self.encoder.layer_groups

    @property
    def of_frames(self) -> ImageEncoder:
        """See ``ImageEncoder.of_frames``."""
        return self.encoder.of_frames

    def encode(self, pixels: Tensor) -> Tensor:
        """See ``ImageEncoder.encode``."""
        return self.encoder.encode(pixels)

    def forward(self, image: Tensor) -> Tokens:
        """See ``ImageEncoder.forward``.

        Raises:
            InputError: the clip has more than ``frames`` frames.
        """
        tokens: Tokens = self.encoder(image)
        cells = self.grid[0] * self.grid[1]
        count = tokens.embeddings.shape[1] // cells
        if count > len(self.time):
            raise InputError(f"a clip has {count} frames and image_encoder.frames={len(self.time)}: raise it")
        return tokens.with_embeddings(tokens.embeddings + self.time[:count].repeat_interleave(cells, 0))

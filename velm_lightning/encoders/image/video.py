"""A video encoder: an image encoder applied to every frame, with learned time embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder
from velm_lightning.encoders.image.outer import OuterEncoder
from velm_lightning.errors import at_least
from velm_lightning.types import InputError, Tokens


class VideoEncoder(OuterEncoder):
    """An image encoder applied to each frame, plus a learned embedding of the frame's index.

    Without the embedding the frames of a clip would be unordered. The tokens of a frozen encoder can be cached as for
    single images.

    Args:
        encoder: encodes one frame.
        frames: maximum number of frames per clip.

    Raises:
        InputError: ``frames`` is less than 1.
    """

    def __init__(self, encoder: ImageEncoder, frames: int = 16) -> None:
        super().__init__(encoder.transform)
        at_least(1, "image_encoder", frames=frames)
        self.encoder, self.dim, self.grid = encoder, encoder.dim, encoder.grid
        self.time = nn.Parameter(torch.randn(frames, encoder.dim) * 0.02)

    @property
    @override
    def of_frames(self) -> ImageEncoder:
        return self.encoder.of_frames

    @override
    def encode(self, pixels: Tensor) -> Tensor:
        return self.encoder.encode(pixels)

    @override
    def forward(self, image: Tensor) -> Tokens:
        """Encode images or clips as ``ImageEncoder.forward`` does and add the time embeddings.

        Raises:
            InputError: the clip has more than ``frames`` frames.
        """
        tokens: Tokens = self.encoder(image)
        cells = self.grid[0] * self.grid[1] * (1 + len(self.depths))
        count = tokens.embeddings.shape[1] // cells
        if count > len(self.time):
            raise InputError(
                f"image_encoder.frames must be at least the number of frames per clip ({count}), got {len(self.time)}"
            )
        return tokens.with_embeddings(tokens.embeddings + self.time[:count].repeat_interleave(cells, 0))

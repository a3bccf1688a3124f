"""A small convolutional encoder of clips that sees all frames from its first layer on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from velm_lightning.encoders.image.cnn import SmallCNN, stages
from velm_lightning.types import InputError, Tokens


class FrameStack(SmallCNN):
    """`SmallCNN` over a clip whose frames are stacked as channels: "early fusion" in time (Karpathy et al. 2014).

    What moves, and which way, is visible to every layer, at the cost of one picture; a clip has as many tokens as a
    picture has.

    Args:
        frames: number of frames of every clip.
        size: side of the picture in pixels; a multiple of 2 per stage.
        widths: channels of each stage; every stage halves the picture.
        dim: width of a token.
    """

    def __init__(self, frames: int = 3, size: int = 64, widths: Sequence[int] = (32, 64, 128), dim: int = 128) -> None:
        super().__init__(size, widths, dim)
        self.frames, self.stages = frames, stages(3 * frames, widths)

    def forward(self, image: Tensor) -> Tokens:
        """Turn uint8 clips (B, T, 3, H, W) into tokens of block 0.

        Raises:
            InputError: the clips have another number of frames.
        """
        found = image.shape[1] if image.ndim == 5 else 1
        if found != self.frames:
            raise InputError(
                f"clips of {found} frames, and image_encoder.frames={self.frames}: make the two the same number"
            )
        pixels = (image.to(self.mean.dtype) - self.mean) / self.std
        return Tokens.of_image(self.encode(pixels.flatten(1, 2)))

"""A small convolutional encoder of clips whose frames are stacked as input channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from velm_lightning.encoders.image.cnn import SmallCNN, stages
from velm_lightning.encoders.image.geometry import Size
from velm_lightning.errors import at_least
from velm_lightning.types import InputError, Tokens


class FrameStack(SmallCNN):
    """`SmallCNN` over clips whose frames are stacked as channels: early fusion in time (Karpathy et al. 2014).

    Motion and its direction are available to every layer at about the cost of one image; a clip has as many tokens as
    an image.

    Args:
        frames: number of frames per clip.
        size: side of the image in pixels, or height and width, multiples of ``2 ** len(widths)``.
        widths: channels of each stage; every stage halves the resolution.
        dim: width of a token.
        transform: changes of fields of ``ImageTransform``, such as ``{"resize": "pad"}``.

    Raises:
        InputError: A size is less than 1, or ``size`` does not fit the stages.
    """

    def __init__(
        self,
        frames: int = 3,
        size: Size = 64,
        widths: Sequence[int] = (32, 64, 128),
        dim: int = 128,
        transform: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(size, widths, dim, transform)
        at_least(1, "image_encoder", frames=frames)
        self.frames, self.stages = frames, stages(3 * frames, widths)

    @override
    def forward(self, image: Tensor) -> Tokens:
        """Encode uint8 clips (B, T, 3, H, W) into tokens (B, M, dim) of block 0.

        Raises:
            InputError: the number of frames differs from ``frames``.
        """
        count = image.shape[1] if image.ndim == 5 else 1
        if count != self.frames:
            raise InputError(
                f"image_encoder.frames must equal the number of frames per clip ({count}), got {self.frames}"
            )
        pixels = (image.to(self.mean.dtype) - self.mean) / self.std
        return Tokens.of_image(self.encode(pixels.flatten(1, 2)))

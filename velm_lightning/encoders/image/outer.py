"""The base class of image encoders that apply another one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from typing_extensions import override

from velm_lightning.encoders.base import ImageEncoder


class OuterEncoder(ImageEncoder):
    """An image encoder around another one, whose layers and depths are its own.

    Attributes:
        encoder: the other one; set by the subclass.
    """

    encoder: ImageEncoder

    @property
    @override
    def layer_groups(self) -> Sequence[nn.Module]:
        return self.encoder.layer_groups

    @override
    def open_depths(self, count: int) -> None:
        self.encoder.open_depths(count)
        self.depths = self.encoder.depths

"""The two controls: what is reached with the words alone, and with the image alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from velm_lightning.fusion.early import EarlyFusion
from velm_lightning.fusion.text_first import TrunkFirst
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class TextOnly(TrunkFirst):
    """The same text encoder without the image: what a fusion must beat before it can be said to see."""

    modalities = ("text",)

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.image_encoder, self.connector = nn.Identity(), nn.Identity()  # nothing that would train or cost

    def see(self, image: Tensor) -> Tokens:
        """Return no tokens: (B, 0, D)."""
        weight = self.text_encoder.embedding.weight
        return Tokens.of_image(weight.new_zeros(len(image), 0, self.text_encoder.dim))

    def meet(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``TrunkFirst.meet``: there is none."""
        return text


class ImageOnly(EarlyFusion):
    """Early fusion with the prompt hidden: every prompt token is the same learned vector, only its ends are kept.

    The length of the prompt is hidden with its words. The words of a target sentence stay visible to the words after
    them.
    """

    modalities = ("image",)

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.hidden = nn.Parameter(torch.randn(self.text_encoder.dim) * 0.02)

    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``Fusion.fuse``."""
        states = super().fuse(image, self._hide(text), cache)
        return text.with_x(states.x)

    def text_alone(self, text: Tokens) -> Tensor:
        """See ``Fusion.text_alone``: of hidden words."""
        return super().text_alone(self._hide(text))

    def couples(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """See ``Fusion.couples``: with hidden words."""
        return super().couples(image, self._hide(text), images, texts)

    def _hide(self, text: Tokens) -> Tokens:
        prompt = text.block == 0
        kept = prompt & text.valid
        inner = kept & nn.functional.pad(kept[:, 1:], (0, 1))  # all but the last prompt token …
        inner[:, 0] = False  # … and the first
        return Tokens(torch.where(prompt[..., None], self.hidden, text.x), text.valid & ~inner, text.block)

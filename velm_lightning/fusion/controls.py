"""The two controls: what is reached with the words alone, and with the image alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from velm_lightning.fusion.early import EarlyFusion
from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class TextOnly(TextFirstFusion):
    """The same text encoder without the image: what a fusion must beat before it can be said to see."""

    modalities = ("text",)

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.image_encoder, self.connector = nn.Identity(), nn.Identity()  # nothing that would train or cost

    def encode_image(self, image: Tensor) -> Tokens:
        """Return no tokens: (B, 0, D)."""
        weight = self.text_encoder.embedding.weight
        return Tokens.of_image(weight.new_zeros(len(image), 0, self.text_encoder.dim))

    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``TextFirstFusion.fuse_states``: there is none."""
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
        return text.with_embeddings(states.embeddings)

    def text_features(self, text: Tokens) -> Tensor:
        """See ``Fusion.text_features``: of hidden words."""
        return super().text_features(self._hide(text))

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """See ``Fusion.fuse_pairs``: with hidden words."""
        return super().fuse_pairs(image, self._hide(text), images, texts)

    def _hide(self, text: Tokens) -> Tokens:
        prompt = text.block_ids == 0
        kept = prompt & text.mask
        inner = kept & nn.functional.pad(kept[:, 1:], (0, 1))  # all but the last prompt token …
        inner[:, 0] = False  # … and the first
        return Tokens(torch.where(prompt[..., None], self.hidden, text.embeddings), text.mask & ~inner, text.block_ids)

"""The base of fusions that combine the image with the output of the text trunk."""

from __future__ import annotations

import inspect
from abc import abstractmethod

from torch import Tensor
from typing_extensions import override

from velm_lightning.fusion.base import Fusion
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class TextFirstFusion(Fusion):
    """A fusion whose text trunk does not attend to the image; a subclass implements ``fuse_states``.

    A text that is paired with many images therefore passes through the trunk only once.
    """

    @abstractmethod
    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Combine the image tokens (B, M, D) with the states (B, N, D) of the trunk; otherwise as ``fuse``."""

    @property
    @override
    def takes_cache(self) -> bool:
        return super().takes_cache and "cache" in inspect.signature(self.fuse_states).parameters

    @override
    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        if cache is None:  # a subclass without cached decoding has no such argument
            return self.fuse_states(image, self.text_encoder.trunk(text))
        return self.fuse_states(image, self.text_encoder.trunk(text, cache), cache)

    @override
    def encode_text(self, text: Tokens) -> Tokens:
        """Return the states (B, N, D) of the trunk, which do not depend on the image."""
        return self.text_encoder.trunk(text)

    @override
    def pool_text(self, text: Tokens) -> Tensor:
        return self.pool(text)

    @override
    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        return self.pool(self.fuse_states(image.rows(images), text.rows(texts)))

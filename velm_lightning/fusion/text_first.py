"""What the fusions have in common whose image meets the text after the trunk."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from velm_lightning.fusion.base import Fusion
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class TextFirstFusion(Fusion):
    """The trunk reads the text alone; a subclass writes ``fuse_states``, in which what it read meets the image.

    So a text that is read with many images passes the trunk once.
    """

    @abstractmethod
    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Let the states (B, N, D) of the trunk meet ``image`` (B, M, D); as ``fuse`` otherwise."""

    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``Fusion.fuse``."""
        return self.fuse_states(image, self.text_encoder.trunk(text, cache), cache)

    def encode_text(self, text: Tokens) -> Tokens:
        """See ``Fusion.encode_text``: the states of the trunk."""
        return self.text_encoder.trunk(text)

    def text_features(self, text: Tokens) -> Tensor:
        """See ``Fusion.text_features``."""
        return self.pool(text)

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """See ``Fusion.fuse_pairs``."""
        return self.pool(self.fuse_states(image.rows(images), text.rows(texts)))

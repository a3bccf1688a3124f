"""What the fusions have in common whose image meets the text after the trunk."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from velm_lightning.fusion.base import Fusion
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class TrunkFirst(Fusion):
    """The trunk reads the text alone; a subclass writes ``meet``, in which what it read meets the image.

    So a text that is read with many images passes the trunk once.
    """

    @abstractmethod
    def meet(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Let the states (B, N, D) of the trunk meet ``image`` (B, M, D); as ``fuse`` otherwise."""

    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``Fusion.fuse``."""
        return self.meet(image, self.text_encoder.trunk(text, cache), cache)

    def alone(self, text: Tokens) -> Tokens:
        """See ``Fusion.alone``: the states of the trunk."""
        return self.text_encoder.trunk(text)

    def text_alone(self, text: Tokens) -> Tensor:
        """See ``Fusion.text_alone``."""
        return self.summary(text)

    def couples(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """See ``Fusion.couples``."""
        return self.summary(self.meet(image.rows(images), text.rows(texts)))

"""Late fusion: image and words meet after their encoders, vector to vector."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from velm_lightning.fusion.merges import Concat, Merge
from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.nn.kv_cache import Cache, cached
from velm_lightning.types import Tokens


class LateFusion(TextFirstFusion):
    """The trunk never sees the image; each of its states is merged with the image's mean vector afterwards.

    At the summary this is the two-tower classifier (Antol et al. 2015; MUTAN, Ben-younes et al. 2017), at every
    position the *merge* captioner (Tanti et al. 2017).

    Args:
        merge: how the two vectors become one.
        parts: encoders, task and optimisation, as in ``Fusion``.
    """

    def __init__(self, merge: Merge | None = None, **parts: Any) -> None:
        super().__init__(**parts)
        self.merge = merge or Concat()
        self.merge.build(self.text_encoder.dim)

    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``TextFirstFusion.fuse_states``."""
        (pooled,) = cached(cache, self, lambda: (cast(Tokens, image).mean(),))
        return text.with_embeddings(self.merge(pooled[:, None], text.embeddings))

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """See ``Fusion.fuse_pairs``: vector to vector."""
        merged: Tensor = self.merge(image.mean()[images], self.pool(text)[texts])
        return merged

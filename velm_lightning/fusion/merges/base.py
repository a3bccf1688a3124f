"""The base class of merges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, cast

from torch import Tensor

from velm_lightning.io.configurable import Configurable
from velm_lightning.nn.buildable import Buildable
from velm_lightning.nn.kv_cache import Cache, cached
from velm_lightning.types import Tokens


class Merge(Configurable, Buildable, ABC):
    """Combines two vectors of equal width into one of that width; shapes broadcast as in ``torch.add``.

    Attributes:
        of_means: whether a result depends on the mean of the image tokens and one state of the text only, so that the
            pooled vectors of pairs can be merged; otherwise a merge overrides ``merge_tokens``.
    """

    of_means: ClassVar[bool] = True

    @abstractmethod
    def build(self, dim: int) -> None:
        """Create the layers for vectors of width ``dim``; called once, by the fusion."""

    @abstractmethod
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Merge ``image`` (..., D) and ``text`` (..., D) into (..., D)."""

    def merge_tokens(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tensor:
        """Merge image tokens (B, M, D) with every state (B, N, D) of the text into (B, N, D); by default their mean.

        Args:
            image: the image tokens; None for every call with a cache but the first.
            text: the states of the text.
            cache: the cache of incremental decoding.
        """
        (pooled,) = cached(cache, self, lambda: (cast(Tokens, image).mean(),))
        merged: Tensor = self(pooled[:, None], text.embeddings)
        return merged

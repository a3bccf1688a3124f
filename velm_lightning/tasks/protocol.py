"""All that a task may know of a fusion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor, nn

from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Batch, TextInput, Tokens


class FusionProtocol(Protocol):
    """A fusion as a task sees it."""

    def __call__(self, batch: Batch) -> Tokens:
        """Read a batch: the fused states (B, N, D) at the places of ``batch.ids``."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switch between training and evaluation."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """All parts."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights."""
        ...

    def encode_image(self, image: Tensor) -> Tokens:
        """Turn pictures into image tokens in the width of the text."""
        ...

    def embed_text(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        """Embed word pieces."""
        ...

    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Let the text read the image; with a cache, the image comes with the prompt only."""
        ...

    def encode_text(self, text: Tokens) -> Tokens:
        """Embedded texts, read as far as they can be before any image is there."""
        ...

    def text_features(self, text: Tokens) -> Tensor:
        """Summaries (B, D) of texts that ``encode_text`` has read, and no image is read with."""
        ...

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Summaries (P, D) of the texts numbered ``texts`` (P,), each read with the image numbered by ``images`` (P,).

        ``encode_text`` has read the texts.
        """
        ...

    def fuse_all_pairs(self, image: Tokens, text: Tokens) -> Tensor:
        """Summaries (I, T, D) of every text read with every image."""
        ...

    def pool(self, states: Tokens) -> Tensor:
        """The (B, D) vectors in which fused states sum up their prompts."""
        ...

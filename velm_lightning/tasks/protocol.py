"""Protocols: the part of a fusion that tasks use, and optional abilities of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Batch, TextInput, Tokens


class FusionProtocol(Protocol):
    """The part of a fusion that tasks use."""

    @property
    def takes_cache(self) -> bool:
        """Whether sentences can be decoded with a cache."""
        ...

    def __call__(self, batch: Batch) -> Tokens:
        """Return the fused states (B, N, D) of a batch at the positions of ``batch.ids``."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switch between training and evaluation mode."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Return an iterator over all modules."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return an iterator over all parameters."""
        ...

    def encode_image(self, image: Tensor) -> Tokens:
        """Return the image tokens (B, M, D) of images, in the width of the text."""
        ...

    def encode_images(self, batch: Batch) -> Tokens:
        """Return the image tokens (B, M, D) of a batch, with the blocks and places of their marks if it has any."""
        ...

    def embed_text(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        """Return the embeddings (B, N, D) of text tokens."""
        ...

    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """Return the fused states (B, N, D) of the text; with a cache, ``image`` is given with the prompt only."""
        ...

    def encode_text(self, text: Tokens) -> Tokens:
        """Return the states of embedded texts before the first layer that reads an image."""
        ...

    def pool_text(self, text: Tokens) -> Tensor:
        """Return the pooled vectors (B, D) of the output of ``encode_text``, without an image."""
        ...

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Return the pooled vectors (P, D) of the pairs of image ``images[p]`` and text ``texts[p]``.

        ``text`` is the output of ``encode_text``.
        """
        ...

    def fuse_all_pairs(self, image: Tokens, text: Tokens) -> Tensor:
        """Return the pooled vectors (I, T, D) of every image with every text."""
        ...

    def pool(self, states: Tokens) -> Tensor:
        """Return one vector (B, D) per sample that summarises the fused states of its prompt."""
        ...


@runtime_checkable
class ImageProducer(Protocol):
    """A task whose model produces images, such as ``Drawing``."""

    def produce_images(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return one uint8 image (B, 3, H, W) per sample of a batch."""
        ...


@runtime_checkable
class HasExtraMetrics(Protocol):
    """A task with metrics that need more than the prediction rows, such as a distance between sets of images."""

    def extra_metrics(self) -> dict[str, float]:
        """Return such metrics of the last evaluation; they are reported, but are not part of the scores."""
        ...

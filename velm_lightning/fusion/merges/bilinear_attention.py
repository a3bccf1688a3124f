"""A merge that attends over all pairs of a word and an image token."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.errors import at_least
from velm_lightning.fusion.merges.base import Merge
from velm_lightning.nn.attention import Logits, attention_mask, read_heads
from velm_lightning.nn.kv_cache import Cache, cached
from velm_lightning.types import Tokens


class BilinearAttention(Merge):
    """Bilinear attention over pairs of words and image tokens, in residual glimpses (BAN, Kim et al. 2018).

    A glimpse distributes its weight over all pairs by a low-rank bilinear form and adds the weighted sum of the pairs'
    low-rank products to every word. A word uses the pairs of the words that it can attend to.

    Args:
        rank: number of factors of the bilinear forms.
        glimpses: number of attention maps, applied one after the other.

    Raises:
        InputError: ``rank`` or ``glimpses`` is less than 1.
    """

    of_means = False

    def __init__(self, rank: int = 128, glimpses: int = 2) -> None:
        super().__init__()
        at_least(1, "merge", rank=rank, glimpses=glimpses)
        self.rank, self.glimpses = rank, glimpses

    @override
    def build(self, dim: int) -> None:
        self.image_logits, self.text_logits = nn.Linear(dim, self.rank), nn.Linear(dim, self.rank)
        self.logits = nn.Linear(self.rank, self.glimpses, bias=False)  # a bias would add the same to all pairs
        self.image, self.text, self.out = (
            nn.ModuleList(nn.Linear(a, b) for _ in range(self.glimpses))
            for a, b in ((dim, self.rank), (dim, self.rank), (self.rank, dim))
        )

    @override
    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        for image_part, text_part, out in zip(self.image, self.text, self.out, strict=True):
            text = text + out(text_part(text).relu() * image_part(image).relu())
        return text

    @override
    def merge_tokens(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tensor:
        pixels, mask = cached(cache, self, lambda: cast(Tokens, image)[:2])
        seen = attention_mask(text, text if cache is None else cache.places(self, text))
        logits = self._pair_logits(pixels, text.embeddings, mask)  # (B, G, N, M)
        share, words = logits.softmax(-1), logits.logsumexp(-1)  # of the pairs of a word, and of the words
        share = share * mask[:, None, None]  # 0 without an image
        states = text.embeddings
        for glimpse, parts in enumerate(zip(self.image, self.text, self.out, strict=True)):
            image_part, text_part, out = parts
            products = text_part(states).relu() * (share[:, glimpse] @ image_part(pixels).relu())  # (B, N, rank)
            states = states + out(self._over_words(glimpse, words[:, glimpse], products, seen, cache))
        return states

    def _pair_logits(self, image: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """Return the logits (B, G, N, M) of all pairs of a word and an image token."""
        weighted = self.text_logits(text).relu()[:, None] * self.logits.weight[:, None]  # (B, G, N, rank)
        logits: Tensor = weighted @ self.image_logits(image).relu()[:, None].transpose(-1, -2)
        return logits.masked_fill(~mask[:, None, None], torch.finfo(logits.dtype).min / 2)

    def _over_words(
        self, glimpse: int, logits: Tensor, products: Tensor, mask: Tensor | None, cache: Cache | None
    ) -> Tensor:
        """Return per word the mean (B, N, rank) of the products of the words that it sees, weighted by their logits."""
        keys = logits[..., None]
        if cache is not None:
            keys, products = cache.grow((self, glimpse), keys, products)
        query = logits.new_ones(*logits.shape, 1)
        read = read_heads(self, query[:, None], keys[:, None], products[:, None], mask, logits=Logits(scaling=1.0))
        return read[:, 0]

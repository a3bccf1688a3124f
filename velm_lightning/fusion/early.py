"""Early fusion: the image meets the words before the text trunk."""

from __future__ import annotations

import torch
from torch import Tensor

from velm_lightning.fusion.base import Fusion
from velm_lightning.nn.attention import AttentionMaps
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class EarlyFusion(Fusion):
    """Image tokens stand before the words, and one trunk reads both (VisualBERT, Li et al. 2019; ViLT, Kim 2021).

    With a causal trunk the image is a prefix: *inject* captioning (Show and Tell, Vinyals et al. 2015), and, with a
    frozen language model, the visual prefix (Frozen, Tsimpoukelli et al. 2021; ClipCap, Mokady et al. 2021).
    """

    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        """See ``Fusion.fuse``."""
        if image is None:
            return self.text_encoder.trunk(text, cache)
        states = self.text_encoder.trunk(Tokens.cat([self._scaled(image), text]), cache)
        return text.with_embeddings(states.embeddings[:, image.embeddings.shape[1] :])

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """See ``Fusion.fuse_pairs``; a causal trunk reads each image once, for all the texts that follow it."""
        if not self.text_encoder.causal:
            return super().fuse_pairs(image, text, images, texts)
        shown, rows = torch.unique(images, return_inverse=True)
        cache = Cache(max_new_tokens=1)
        self.text_encoder.trunk(self._scaled(image.rows(shown)), cache)
        cache.take(rows)
        return self.pool(self.text_encoder.trunk(text.rows(texts), cache))

    def _scaled(self, image: Tokens) -> Tokens:
        return image.with_embeddings(image.embeddings * self.text_encoder.scale)

    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """See ``Fusion.image_attention``: the last self-attention of the trunk, from words to image tokens."""
        return joint_attention(maps, image, text)


def joint_attention(maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
    """Return the part of the last self-attention over ``[image, text]`` that goes from words to image tokens."""
    count, whole = image.embeddings.shape[1], image.embeddings.shape[1] + text.embeddings.shape[1]
    found = [weights for _, weights in maps if weights.shape[-2:] == (whole, whole)]
    return found[-1][:, :, count:, :count].mean(1) if found else None

"""Early fusion: image tokens precede the words in the input of the text trunk."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from velm_lightning.fusion.base import Fusion
from velm_lightning.nn.attention import AttentionMaps
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class EarlyFusion(Fusion):
    """Prepends image tokens to the words, so that one trunk contextualises both.

    This is the arrangement of VisualBERT (Li et al. 2019) and ViLT (Kim et al. 2021).
    With a causal trunk the image is a prefix: *inject* captioning (Show and Tell, Vinyals et al. 2015), and, with a
    frozen language model, the visual prefix (Frozen, Tsimpoukelli et al. 2021; ClipCap, Mokady et al. 2021).

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.EarlyFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                          task=velm.Classification(), vocabulary=data.vocabulary)
        >>> model.modalities
        ('image', 'text')
    """

    @override
    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        if image is None:
            return self.text_encoder.trunk(text, cache)
        states = self.text_encoder.trunk(Tokens.cat([self._scaled(image), text]), cache)
        return text.with_embeddings(states.embeddings[:, image.embeddings.shape[1] :])

    def fuse_pairs(self, image: Tokens, text: Tokens, images: Tensor, texts: Tensor) -> Tensor:
        """Fuse given pairs; a causal trunk encodes each image once and reuses it for all texts paired with it."""
        if not self.text_encoder.causal:
            return super().fuse_pairs(image, text, images, texts)
        distinct, rows = torch.unique(images, return_inverse=True)
        cache = Cache(max_new_tokens=1)
        self.text_encoder.trunk(self._scaled(image.rows(distinct)), cache)
        cache.take(rows)
        return self.pool(self.text_encoder.trunk(text.rows(texts), cache))

    def _scaled(self, image: Tokens) -> Tokens:
        return image.with_embeddings(image.embeddings * self.text_encoder.scale)

    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Select the last self-attention of the trunk, from words to image tokens: (B, N, M)."""
        return joint_attention(maps, image, text)


def joint_attention(maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
    """Return the part (B, N, M), from words to image tokens, of the last self-attention over ``[image, text]``.

    Attention heads are averaged. None means that no attention over both was recorded.
    """
    count, total = image.embeddings.shape[1], image.embeddings.shape[1] + text.embeddings.shape[1]
    joint = [weights for _, weights in maps if weights.shape[-2:] == (total, total)]
    return joint[-1][:, :, count:, :count].mean(1) if joint else None

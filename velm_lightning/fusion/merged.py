"""Merged fusion: joint self-attention over image tokens and words on top of the text trunk."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.errors import at_least, within
from velm_lightning.fusion.base import FusionParts
from velm_lightning.fusion.early import joint_attention
from velm_lightning.fusion.meeting import JOINED, Meeting
from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.nn.attention import AttentionMaps, Block, attention_mask
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import Tokens


class MergedFusion(TextFirstFusion):
    """Encodes image and text separately, then concatenates both and applies Transformer layers to the sequence.

    This is the merged attention of METER (Dou et al. 2022), whose other form, co-attention, is ``InteractiveFusion``.
    A learned vector per modality is added to the tokens.

    Args:
        depth: number of layers over both.
        heads: attention heads; must divide the text width.
        dropout: dropout in these layers.
        parts: the arguments of ``Fusion``.

    Raises:
        InputError: ``depth`` is less than 1, ``heads`` does not divide the text width, or ``dropout`` is not between 0
            and 1.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.MergedFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...     task=velm.Classification(), vocabulary=data.vocabulary)
        >>> model.modality.shape[0]
        2
    """

    masks_images = True

    def __init__(self, depth: int = 2, heads: int = 4, dropout: float = 0.1, **parts: Unpack[FusionParts]) -> None:
        super().__init__(**parts)
        at_least(1, "model", depth=depth)
        within(0, 1, "model", dropout=dropout)
        dim = self.text_encoder.dim
        self.modality = nn.Parameter(torch.randn(2, dim) * 0.02)
        self.layers = nn.ModuleList(Block(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    @property
    @override
    def meeting(self) -> Meeting | None:
        return Meeting(JOINED, 1.0)

    @override
    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        tokens = text.with_embeddings(text.embeddings + self.modality[1])
        if image is not None:
            tokens = Tokens.cat([image.with_embeddings(image.embeddings + self.modality[0]), tokens])
        mask = attention_mask(tokens, tokens if cache is None else cache.places(self, tokens))
        states = tokens.embeddings
        for layer in self.layers:
            states = layer(states, mask, cache=cache)
        return text.with_embeddings(self.norm(states[:, -text.embeddings.shape[1] :]))

    @override
    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Select the last attention from words to image tokens: (B, N, M), averaged over its heads."""
        return joint_attention(maps, image, text)

"""Bottleneck fusion: image and text exchange information through a few shared tokens."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import nn
from typing_extensions import override

from velm_lightning.errors import within
from velm_lightning.fusion.base import FusionParts
from velm_lightning.fusion.meeting import Meeting
from velm_lightning.fusion.text_first import TextFirstFusion
from velm_lightning.nn.attention import Block, attention_mask
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import InputError, Tokens


class BottleneckFusion(TextFirstFusion):
    """Lets image and text attend only to themselves and to a few bottleneck tokens (MBT, Nagrani et al. 2021).

    On top of the encoders, each modality has Transformer layers of its own over its tokens and the bottleneck tokens.
    After every layer the bottleneck tokens are the mean of what both sides made of them. Bottleneck tokens attend to
    the prompt and not to target words, so that they do not change while words are generated.

    Args:
        count: number of bottleneck tokens.
        depth: number of layers; words see the image from the second on.
        heads: attention heads; must divide the text width.
        dropout: dropout in these layers.
        parts: the arguments of ``Fusion``.

    Raises:
        InputError: ``count`` is less than 1, ``depth`` less than 2, or ``dropout`` is not between 0 and 1.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.BottleneckFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...     task=velm.Classification(), vocabulary=data.vocabulary)
        >>> model.bottleneck.shape[0]
        4
    """

    def __init__(
        self, count: int = 4, depth: int = 2, heads: int = 4, dropout: float = 0.1, **parts: Unpack[FusionParts]
    ) -> None:
        super().__init__(**parts)
        if count < 1 or depth < 2:
            raise InputError(f"model.count must be at least 1 and model.depth at least 2, got {count} and {depth}")
        within(0, 1, "model", dropout=dropout)
        dim = self.text_encoder.dim
        self.bottleneck = nn.Parameter(torch.randn(count, dim) * 0.02)
        self.text_layers = nn.ModuleList(Block(dim, heads, dropout) for _ in range(depth))
        # No word attends to what the last layer would make of the bottleneck tokens.
        self.image_layers = nn.ModuleList(Block(dim, heads, dropout) for _ in range(depth - 1))
        self.norm = nn.LayerNorm(dim)

    @property
    @override
    def meeting(self) -> Meeting | None:
        return Meeting("bottleneck tokens", 1.0)

    @override
    def fuse_states(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        # In later steps of decoding the bottleneck tokens are cached.
        count = 0 if image is None else len(self.bottleneck)
        shared = Tokens.of_image(self.bottleneck[:count].repeat(len(text.embeddings), 1, 1))
        words = Tokens.cat([shared, text])
        mask = attention_mask(words, words if cache is None else cache.places(self, words))
        x, y, image_mask = words.embeddings, None, None
        if image is not None:
            tokens = Tokens.cat([shared, image])
            y, image_mask = tokens.embeddings, attention_mask(tokens, tokens)
        for index, layer in enumerate(self.text_layers):
            x = layer(x, mask, cache=cache)
            if y is not None and index < len(self.image_layers):
                y = self.image_layers[index](y, image_mask)
                mean = (x[:, :count] + y[:, :count]) / 2
                x, y = torch.cat([mean, x[:, count:]], 1), torch.cat([mean, y[:, count:]], 1)
        return text.with_embeddings(self.norm(x[:, count:]))

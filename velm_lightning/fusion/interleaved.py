"""Interleaved fusion: cross-attention to the image before chosen layers of the text trunk."""

from __future__ import annotations

from typing import Unpack, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from velm_lightning.encoders.layer_control import LayerControl
from velm_lightning.errors import within
from velm_lightning.fusion.base import Fusion, FusionParts
from velm_lightning.fusion.meeting import CROSS, Meeting
from velm_lightning.nn.attention import Attention, AttentionMaps, FeedForward, attention_mask
from velm_lightning.nn.kv_cache import Cache, cached
from velm_lightning.types import InputError, Tokens


class InterleavedFusion(Fusion):
    """Inserts layers of cross-attention to the image before chosen layers of the text trunk.

    With ``gated`` this is Flamingo (Alayrac et al. 2022): every branch passes through a tanh gate that starts at 0, so
    that a pretrained trunk, frozen or not, computes at first what it computes without an image. Without gates and
    ``feed_forward`` it is the cross-attention of an encoder-decoder. The trunk must have layers; recurrent trunks are
    refused.

    Args:
        first: the first layer of the trunk, from 0, that a cross-attention layer precedes.
        every: distance from one such layer to the next; 1 means every layer.
        last: the last layer that a cross-attention layer may precede; None means the last layer of the trunk.
        gated: whether each branch passes through a tanh gate that starts at 0.
        feed_forward: whether each cross-attention is followed by a feed-forward branch, as in Flamingo.
        heads: attention heads; must divide the text width.
        dropout: dropout on each branch.
        parts: the arguments of ``Fusion``.

    Raises:
        InputError: the trunk has no layers, or not those that ``first``, ``every`` and ``last`` name, or ``dropout`` is
            not between 0 and 1.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.InterleavedFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...     task=velm.Classification(), vocabulary=data.vocabulary)
        >>> list(model.positions)
        [0, 1]
    """

    masks_images = True

    def __init__(
        self,
        first: int = 0,
        every: int = 1,
        last: int | None = None,
        gated: bool = True,
        feed_forward: bool = True,
        heads: int = 4,
        dropout: float = 0.1,
        **parts: Unpack[FusionParts],
    ) -> None:
        super().__init__(**parts)
        depth = len(self.text_encoder.open_layers())
        end = depth - 1 if last is None else last
        if not 0 <= first <= end < depth or every < 1:
            raise InputError(
                f"model.first and model.last must be layers of the trunk, 0 to {depth - 1}, in this order, and "
                f"model.every at least 1, got {first}, {last} and {every}"
            )
        within(0, 1, "model", dropout=dropout)
        self.positions = range(first, end + 1, every)
        self._meeting = Meeting(CROSS if (every, end) == (1, depth - 1) else f"{CROSS} in some layers", first / depth)
        dim = self.text_encoder.dim
        layers = [CrossLayer(dim, heads, dropout, gated, feed_forward) for _ in self.positions]
        self.cross_layers = nn.ModuleList(layers)

    @property
    @override
    def meeting(self) -> Meeting | None:
        return self._meeting

    @override
    def fuse(self, image: Tokens | None, text: Tokens, cache: Cache | None = None) -> Tokens:
        visible = Tokens(text.embeddings, *cached(cache, self, lambda: cast(Tokens, image)[1:3]))
        context = None if image is None else image.embeddings
        control = _CrossAttention(self, context, attention_mask(text, visible), cache)
        return self.text_encoder.trunk(text, cache, control)

    @override
    def image_attention(self, maps: AttentionMaps, image: Tokens, text: Tokens) -> Tensor | None:
        """Select the last cross-attention from words to image tokens: (B, N, M), averaged over its heads."""
        last = cast(CrossLayer, self.cross_layers[-1]).attention
        return next(weights.mean(1) for module, weights in reversed(maps) if module is last)


class _CrossAttention(LayerControl):
    """The cross-attention layers of a model in one forward pass."""

    def __init__(
        self, model: InterleavedFusion, context: Tensor | None, mask: Tensor | None, cache: Cache | None
    ) -> None:
        self.model, self.context, self.mask, self.cache = model, context, mask, cache

    @override
    def before(self, index: int, states: Tensor) -> Tensor:
        if index not in self.model.positions:
            return states
        layer = self.model.cross_layers[self.model.positions.index(index)]
        updated: Tensor = layer(states, self.context, self.mask, self.cache)
        return updated


class CrossLayer(nn.Module):
    """A pre-norm layer of cross-attention and, optionally, a feed-forward branch (Alayrac et al. 2022, section 2.2).

    Args:
        dim: width.
        heads: attention heads; must divide ``dim``.
        dropout: dropout on each branch.
        gated: whether each branch is multiplied by the tanh of a learned scalar, initially 0.
        feed_forward: whether there is a feed-forward branch.
    """

    def __init__(
        self, dim: int, heads: int, dropout: float = 0.0, gated: bool = True, feed_forward: bool = True
    ) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.gate = nn.Parameter(torch.zeros(1)) if gated else None
        self.feed_forward = nn.Sequential(nn.LayerNorm(dim), FeedForward(dim, 4 * dim)) if feed_forward else None
        self.feed_forward_gate = nn.Parameter(torch.zeros(1)) if gated and feed_forward else None
        self.drop = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, context: Tensor | None, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Return the states (B, N, D) of ``x`` (B, N, D) after attention to ``context`` (B, M, D), or the cached one.

        Args:
            x: (B, N, D).
            context: (B, M, D); None means the cached one.
            mask: (B, 1, N, M), added to the logits; None means no mask.
            cache: the cache of incremental decoding.
        """
        x = x + self._branch(self.attention.cross(self.norm(x), context, mask, cache), self.gate)
        if self.feed_forward is not None:
            x = x + self._branch(self.feed_forward(x), self.feed_forward_gate)
        return x

    def _branch(self, branch: Tensor, gate: Tensor | None) -> Tensor:
        dropped: Tensor = self.drop(branch)
        return dropped if gate is None else dropped * gate.tanh()

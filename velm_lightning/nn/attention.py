"""Attention and Transformer layers: torch's fused attention, masks by the block rule, and caching for decoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.errors import InputError
from velm_lightning.nn.kv_cache import Cache, stored_in
from velm_lightning.types import Tokens

AttentionMaps = list[tuple[nn.Module, Tensor]]
"""Attention modules in the order of their calls, each with its weights (B, heads, N, M)."""

_recording: ContextVar[AttentionMaps | None] = ContextVar("recording", default=None)


@contextmanager
def record_attention() -> Iterator[AttentionMaps]:
    """Record the weights of every attention that is called inside, in order."""
    maps: AttentionMaps = []
    token = _recording.set(maps)
    try:
        yield maps
    finally:
        _recording.reset(token)


_closed: ContextVar[list[nn.Module] | None] = ContextVar("closed", default=None)


@contextmanager
def without_cross_attention() -> Iterator[list[nn.Module]]:
    """Let every cross-attention that is called inside read nothing; yield the list of these modules."""
    modules: list[nn.Module] = []
    token = _closed.set(modules)
    try:
        yield modules
    finally:
        _closed.reset(token)


class Logits(NamedTuple):
    """Settings of the logits of attention weights, computed from the products of queries and keys.

    Attributes:
        scaling: factor of the products; by default ``D ** -0.5``.
        softcap: limit of the logits, ``softcap * tanh(logits / softcap)`` (Gemma 2, Riviere et al. 2024).
        sinks: (heads,) one more logit per head that takes weight and gives no value (attention sinks, as in GPT-OSS).
    """

    scaling: float | None = None
    softcap: float | None = None
    sinks: Tensor | None = None


PLAIN = Logits()
"""Plain scaled dot products."""


def attention_mask(query: Tokens, key: Tokens, causal: bool = False) -> Tensor | None:
    """Return the mask (B, 1, N, M), 0 for visible keys and -inf for all others; None if no mask is needed.

    The mask is added to the logits. A boolean mask would be converted to these numbers again in every layer.
    """
    visible = query.can_attend_to(key, causal)
    # On a CPU the unmasked kernels are faster; on a GPU the host would have to wait for the answer.
    if visible.device.type == "cpu" and not torch.compiler.is_compiling() and bool(visible.all()):
        return None
    return torch.zeros_like(visible, dtype=query.embeddings.dtype).masked_fill_(~visible, float("-inf"))[:, None]


def narrowed(mask: Tensor | None, visible: Tensor | None, states: Tensor) -> Tensor | None:
    """Return an attention mask within a restriction.

    Args:
        mask: (B, 1, N, M), boolean or added to the logits; None if all keys are visible.
        visible: (B, N, M) bool; None means no restriction.
        states: the queries (B, N, D), whose data type a mask that did not exist gets.
    """
    if visible is None:
        return mask
    if mask is None:
        mask = torch.zeros_like(visible, dtype=states.dtype)[:, None]
    if mask.dtype == torch.bool:
        return mask & visible[:, None]
    return mask.masked_fill(~visible[:, None], float("-inf"))


class KeyValue(nn.Linear):
    """The linear map of tokens (..., D) to their concatenated keys and values (..., 2 D)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 2 * dim)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017), as self-attention or cross-attention.

    Args:
        dim: width of the queries and of the result.
        heads: number of heads; must divide ``dim``.

    Raises:
        InputError: ``heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise InputError(f"heads={heads} does not divide dim={dim}: choose a divisor")
        self.heads = heads
        self.query, self.key_value, self.out = nn.Linear(dim, dim), KeyValue(dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Apply self-attention to ``x`` (B, N, D), and to the cached tokens, under ``mask`` (B, 1, N, M)."""
        query, key_value = self.projections(x)
        if cache is not None:
            (key_value,) = cache.grow(self, key_value)
        return self._attend(query, key_value, mask)

    def cross(
        self, x: Tensor, context: Tensor | None, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Apply cross-attention from ``x`` (B, N, D) to ``context`` (B, M, D), or to the cached context."""
        closed = _closed.get()
        if closed is not None:
            closed.append(self)
            nothing: Tensor = self.out(torch.zeros_like(x))
            return nothing
        store = {} if cache is None else cache.context
        (key_value,) = stored_in(store, self, lambda: (self.key_value(cast(Tensor, context)),))
        return self._attend(self.query(x), key_value, mask)

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the queries (B, N, D) of ``x`` (B, N, D), and its concatenated keys and values (B, N, 2 D)."""
        return self.query(x), self.key_value(x)

    def _attend(self, query: Tensor, key_value: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from queries (R, N, D) to keys and values (B, M, 2 D), B = R or the number of samples."""
        out: Tensor = self.out(self.gather(query, key_value, mask))
        return out

    def gather(self, query: Tensor, key_value: Tensor, mask: Tensor | None) -> Tensor:
        """Return the concatenated heads (R, N, D) of queries (R, N, D) that attend to keys and values (B, M, 2 D)."""
        # No dropout on the weights: it would disable the fused kernel on a CPU; branches have dropout instead.
        key, value = key_value.chunk(2, dim=-1)
        read = read_heads(self, self._split(query), self._split(key), self._split(value), mask)
        return read.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """Split into heads: (B, heads, N, D / heads)."""
        return x.view(*x.shape[:-1], self.heads, x.shape[-1] // self.heads).transpose(1, 2)


def read_heads(
    owner: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float = 0.0,
    logits: Logits = PLAIN,
) -> Tensor:
    """Attend from queries (R, heads, N, D) to keys (B, heads, M, D), which the hypotheses of a sample share."""
    beams = len(query) // max(1, len(key))
    query, mask = _side_by_side(query, beams), None if mask is None else _side_by_side(mask, beams)
    maps = _recording.get()
    if maps is not None:
        maps.append((owner, _weights(query, key, mask, logits).detach()))
    if logits.softcap is None and logits.sinks is None:
        return _apart(_fused(query, key, value, mask, dropout, logits.scaling), beams)
    return _apart(F.dropout(_weights(query, key, mask, logits).to(value.dtype), dropout) @ value, beams)


def _side_by_side(x: Tensor, beams: int) -> Tensor:
    """Concatenate the tokens of a sample's hypotheses (B K, heads, N, D): (B, heads, K N, D)."""
    return x if beams == 1 else x.view(-1, beams, *x.shape[1:]).transpose(1, 2).flatten(2, 3)


def _apart(x: Tensor, beams: int) -> Tensor:
    """Undo ``_side_by_side``."""
    samples, heads, _, dim = x.shape
    return x if beams == 1 else x.view(samples, heads, beams, -1, dim).transpose(1, 2).flatten(0, 1)


def _fused(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scaling: float | None
) -> Tensor:
    """Attend by torch's fused kernel, on a CPU in at least single precision.

    On a CPU, the kernel with gradients is four times slower in half precision, at the lengths of captions.
    """
    lower = query.dtype.itemsize < 4 or torch.is_autocast_enabled("cpu")
    if query.device.type != "cpu" or not lower:
        return F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=scaling)
    q, k, v = (part.float() if part.dtype.itemsize < 4 else part for part in (query, key, value))
    added = mask.float() if mask is not None and mask.is_floating_point() else mask
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q, k, v, added, dropout, scale=scaling).to(value.dtype)


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, logits: Logits = PLAIN) -> Tensor:
    """Return the attention weights (B, heads, N, M), as transformers' eager attention computes them."""
    products = query @ key.transpose(-1, -2) * (logits.scaling or query.shape[-1] ** -0.5)
    if logits.softcap is not None:
        products = logits.softcap * (products / logits.softcap).tanh()
    if mask is not None:  # the smallest number instead of -inf: rows without a visible key stay finite
        smallest = torch.finfo(products.dtype).min
        if mask.dtype == torch.bool:
            products = products.masked_fill(~mask, smallest)
        else:
            products = (products + mask).clamp(min=smallest)
    if logits.sinks is None:
        return products.softmax(-1)
    sinks = logits.sinks.to(products.dtype).view(1, -1, 1, 1).expand(*products.shape[:3], 1)
    return torch.cat([products, sinks], -1).softmax(-1)[..., :-1]


@torch.no_grad()
def scale_attention(model: nn.Module, gain: float) -> None:
    """Multiply the weights of queries and keys of every ``Attention`` in a model by ``gain``."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.query.weight *= gain
        elif isinstance(module, KeyValue):
            module.weight[: module.in_features] *= gain


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them, ``inner`` wide (Vaswani et al. 2017; Hendrycks & Gimpel 2016)."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__(nn.Linear(dim, inner), nn.GELU(), nn.Linear(inner, dim))


class Block(nn.Module):
    """A pre-norm Transformer layer: self-attention, optional cross-attention, feed-forward.

    Args:
        dim: width.
        heads: attention heads.
        dropout: dropout on each branch.
        cross: whether the layer has a cross-attention branch.
        gated: multiply the cross-attention branch by the tanh of a learned scalar, initially 0, so that the layer
            initially ignores the context (Flamingo, Alayrac et al. 2022).
        inner: width of the feed-forward's inner layer; by default ``4 * dim``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        dropout: float = 0.0,
        cross: bool = False,
        gated: bool = False,
        inner: int | None = None,
    ) -> None:
        super().__init__()
        self.norm_self, self.self_attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.cross_attention = Attention(dim, heads) if cross else None
        self.norm_cross = nn.LayerNorm(dim) if cross else None
        self.gate = nn.Parameter(torch.zeros(1)) if cross and gated else None
        self.norm_out = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, inner or 4 * dim)
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return the states (B, N, D) of ``x`` (B, N, D), given ``context`` (B, M, D) and additive masks.

        Args:
            x: (B, N, D).
            mask: (B, 1, N, N) of self-attention; None means no mask.
            context: (B, M, D) of cross-attention; by default the cached one.
            context_mask: (B, 1, N, M) of cross-attention; None means no mask.
            cache: the cache of incremental decoding.
        """
        x = x + self._dropped(self.self_attention(self.norm_self(x), mask, cache))
        has_context = context is not None or cache is not None
        if self.cross_attention is not None and self.norm_cross is not None and has_context:
            read = self._dropped(self.cross_attention.cross(self.norm_cross(x), context, context_mask, cache))
            x = x + (read if self.gate is None else read * self.gate.tanh())
        return x + self._dropped(self.feed_forward(self.norm_out(x)))

    def finish(self, x: Tensor, read: Tensor) -> Tensor:
        """Return the states of ``x`` (B, N, D) given the output (B, N, D) of its self-attention, without a context."""
        x = x + self._dropped(read)
        return x + self._dropped(self.feed_forward(self.norm_out(x)))

    def like(self) -> Block:
        """Return a new layer of the same sizes without cross-attention."""
        inner = cast(nn.Linear, self.feed_forward[0])
        return Block(inner.in_features, self.self_attention.heads, self.drop.p, inner=inner.out_features)

    def _dropped(self, branch: Tensor) -> Tensor:
        if not self.training:  # three calls without effect take 1 % of a decoding step
            return branch
        dropped: Tensor = self.drop(branch)
        return dropped

"""The only attention code: torch's fused attention, masked by the block rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.types import InputError, Tokens

AttentionMaps = list[tuple[nn.Module, Tensor]]
"""Which attention ran, and its weights (B, heads, N, M)."""

_recording: ContextVar[AttentionMaps | None] = ContextVar("recording", default=None)


@contextmanager
def record_attention() -> Iterator[AttentionMaps]:
    """Collect the weights of every attention that runs inside, in order."""
    maps: AttentionMaps = []
    token = _recording.set(maps)
    try:
        yield maps
    finally:
        _recording.reset(token)


def attention_mask(query: Tokens, key: Tokens) -> Tensor | None:
    """Return (B, 1, N, M) bool, or nothing where all is visible, so that the unmasked kernels are used."""
    mask = query.sees(key)
    if not torch.compiler.is_compiling() and bool(mask.all()):
        return None
    return mask[:, None]


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017), of tokens on themselves or on a context.

    Args:
        dim: width of the queries and of the result.
        heads: number of heads; divides ``dim``.

    Raises:
        InputError: ``heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"heads={heads} does not divide dim={dim}: choose a divisor")
        self.heads = heads
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let ``x`` (B, N, D) read ``context`` (B, M, D) where ``mask`` (B, 1, N, M) is true."""
        return self.attend(x, *self.keys_values(context), mask)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of ``context`` (B, M, D), each (B, heads, M, D / heads)."""
        key, value = self.key_value(context).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def attend(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Let ``x`` (B, N, D) read ready keys and values."""
        query = self._split(self.query(x))  # (B, heads, N, D / heads)
        maps = _recording.get()
        if maps is not None:
            maps.append((self, _weights(query, key, mask)))
        # No dropout on the weights: it would rule out the fused kernel on a CPU; branches are dropped instead.
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)


def _weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    weights: Tensor = logits.softmax(-1).detach()
    return weights


class Block(nn.Module):
    """A pre-norm Transformer layer: self-attention, cross-attention where a context is wanted, feed-forward.

    Args:
        dim: width.
        heads: attention heads.
        dropout: dropout on each branch.
        cross: whether a cross-attention branch exists.
        gated: multiply the cross-attention branch by tanh of a learned scalar that starts at 0, so that the layer
            starts as if there were no context (Flamingo, Alayrac et al. 2022).
        expansion: width of the feed-forward's inner layer, in units of ``dim``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        dropout: float = 0.0,
        cross: bool = False,
        gated: bool = False,
        expansion: int = 4,
    ) -> None:
        super().__init__()
        self.norm_self, self.self_attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.cross_attention = Attention(dim, heads) if cross else None
        self.norm_cross = nn.LayerNorm(dim) if cross else None
        self.gate = nn.Parameter(torch.zeros(1)) if cross and gated else None
        self.norm_out = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim))
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """Update ``x`` (B, N, D), reading ``context`` (B, M, D); masks are (B, 1, N, N) and (B, 1, N, M)."""
        normed = self.norm_self(x)
        x = x + self.drop(self.self_attention(normed, normed, mask))
        if self.cross_attention is not None and self.norm_cross is not None and context is not None:
            read = self.drop(self.cross_attention(self.norm_cross(x), context, context_mask))
            x = x + (read if self.gate is None else read * self.gate.tanh())
        out: Tensor = x + self.drop(self.feed_forward(self.norm_out(x)))
        return out

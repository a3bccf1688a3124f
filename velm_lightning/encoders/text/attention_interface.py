"""The attention and the masks that transformers' models run with here: the block rule within each layer's own mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from velm_lightning.nn.attention import Logits, read_heads
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import InputError, Tokens

NAME = "velm_lightning"
"""The name of this attention in transformers' interface."""

CHECKED = f"{NAME}_checked"
"""The name of the same attention that also checks its mask, for the first tokens that a model reads."""

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A mask rule of transformers: batch, head, query and key indices to bool."""

_IN_THE_MASK = frozenset({"sliding_window", "is_causal", "position_ids"})
"""Arguments of the attention interface that say again what the mask of the layer already holds."""


class LayerMasks:
    """Which tokens a layer's queries may attend to: the block rule and the layer's own mask, by position.

    A layer's own mask (causal, sliding window in one or both directions, chunks) is a rule about indices. It is
    evaluated at positions, i.e. the number of valid tokens in front: image tokens in front of the text count, and
    padding between valid tokens does not make a window narrower.

    Args:
        tokens: the queries (B, N).
        seen: all tokens that are attended to (B, M), those of earlier decoding steps included.
        positions: (B, N) positions of the queries, from 0.
    """

    def __init__(self, tokens: Tokens, seen: Tokens, positions: Tensor) -> None:
        self.tokens, self.seen, self.positions = tokens, seen, positions
        self.made: list[Tensor] = []

    def of(self, own: MaskFunction) -> Tensor:
        """Return the mask (B, 1, N, M) of layers whose own mask is ``own``."""
        from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

        rule = self.tokens.can_attend_to(self.seen, own is causal_mask_function)[:, None]
        if own is not causal_mask_function and own is not bidirectional_mask_function:
            batch = torch.arange(len(rule), device=rule.device)[:, None, None, None]
            queries, keys = self.positions[:, None, :, None], positions_of(self.seen)[:, None, None, :]
            rule = rule & own(batch, torch.zeros_like(batch), queries, keys)
        self.made.append(rule)
        return rule


def positions_of(seen: Tokens) -> Tensor:
    """Return the positions (B, M) of all valid tokens: how many stand in front of each.

    Decoding writes words into free places, so that their order is that of the blocks, and only within a block that of
    the places.
    """
    order = seen.block_ids.argsort(dim=1, stable=True)
    count = seen.mask.gather(1, order).cumsum(1) - 1
    return torch.empty_like(count).scatter_(1, order, count).clamp_(min=0)


class LayerCache:
    """The cache as the layers of one forward see it: a layer that attends several times (ALBERT) keeps each apart."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.calls = cache, Counter[nn.Module]()

    def grow(self, owner: nn.Module, key: Tensor, value: Tensor) -> list[Tensor]:
        """Add keys and values (B, heads, N, D) to those of the same call of ``owner`` in earlier steps; return all."""
        self.calls[owner] += 1
        parts = self.cache.grow((owner, self.calls[owner]), key.transpose(1, 2), value.transpose(1, 2))
        return [part.transpose(1, 2) for part in parts]


_masks: ContextVar[LayerMasks | None] = ContextVar("masks", default=None)
_decoding: ContextVar[LayerCache | None] = ContextVar("decoding", default=None)


@contextmanager
def reading(masks: LayerMasks, cache: Cache | None) -> Iterator[None]:
    """Run the layers of transformers inside with these masks; their keys and values are kept in ``cache``."""
    tokens = _masks.set(masks), _decoding.set(None if cache is None else LayerCache(cache))
    try:
        yield
    finally:
        _masks.reset(tokens[0])
        _decoding.reset(tokens[1])


def register() -> str:
    """Make this attention and its masks known to transformers and return their name there."""
    from transformers import AttentionInterface, AttentionMaskInterface

    for name, attention in ((NAME, attend_heads), (CHECKED, attend_checked)):
        AttentionInterface.register(name, attention)
        AttentionMaskInterface.register(name, layer_mask)
    return NAME


def layer_mask(*_: Any, mask_function: MaskFunction, **__: Any) -> Tensor:
    """Return the mask (B, 1, N, M) of the layers whose own rule is ``mask_function``; transformers calls this."""
    masks = _masks.get()
    if masks is None:
        raise InputError("a model with this attention runs only through its text encoder's trunk")
    return masks.of(mask_function)


def attend_heads(
    owner: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend in a layer of transformers, which calls this by its attention interface.

    Args:
        owner: the layer.
        query: (B, heads, N, D).
        key: (B, groups, M, D); each group is read by heads / groups heads.
        value: (B, groups, M, D).
        attention_mask: (B, 1, N, M), true if a token may attend, or numbers to add to the logits.
        dropout: dropout of the weights.
        scaling: see ``Logits``.
        softcap: see ``Logits``.
        s_aux: see ``Logits.sinks``.
        others: what the mask already holds, or what is not used.

    Raises:
        InputError: an argument is given that is not implemented here.
    """
    for name, given in others.items():
        if given is not None and given is not False and name not in _IN_THE_MASK:
            raise InputError(f"its {type(owner).__name__} passes {name!r}, which the attention here does not implement")
    cache = _decoding.get()
    if cache is not None:
        key, value = cache.grow(owner, key, value)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    read = read_heads(owner, query, key, value, attention_mask, dropout, Logits(scaling, softcap, s_aux))
    return read.transpose(1, 2).contiguous(), None


def attend_checked(
    owner: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **others: Any
) -> tuple[Tensor, None]:
    """Attend as ``attend_heads`` does, after making sure that the layer did not change its mask.

    Raises:
        InputError: the layer uses a mask that is not of ``layer_mask``.
    """
    masks = _masks.get()
    made = masks.made if masks is not None else []
    if attention_mask is None or not any(torch.equal(attention_mask, mask) for mask in made):
        raise InputError(f"its {type(owner).__name__} does not use the mask that it is given")
    return attend_heads(owner, query, key, value, attention_mask, **others)

"""Attention and masks for Hugging Face models, which apply the block rule within the mask of each layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from velm_lightning.encoders.text.layer_hooks import current_pass
from velm_lightning.nn.attention import Logits, read_heads
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.types import InputError, Tokens

NAME = "velm_lightning"
"""Name of this attention in the attention interface of transformers."""

CHECKED = f"{NAME}_checked"
"""Name of the variant that also checks its mask, which ``trunk_check`` uses."""

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A mask rule of transformers: batch, head, query and key indices to bool."""

_IN_THE_MASK = frozenset({"sliding_window", "is_causal", "position_ids"})
"""Arguments of the attention interface that repeat information from the mask of the layer."""


class LayerMasks:
    """The masks of one forward pass, which combine the block rule with the mask of each layer.

    The mask of a layer (causal, sliding window in one or both directions, chunks) is a function of indices. It is
    evaluated at positions, i.e. the number of preceding valid tokens: image tokens before the text count, and padding
    between valid tokens does not narrow a window.

    Args:
        tokens: the queries (B, N).
        seen: the keys (B, M), including those of earlier decoding steps.
        positions: (B, N) positions of the queries, from 0.
    """

    def __init__(self, tokens: Tokens, seen: Tokens, positions: Tensor) -> None:
        self.tokens, self.seen, self.positions = tokens, seen, positions
        self.made: list[Tensor] = []

    def of(self, mask_function: MaskFunction) -> Tensor:
        """Return the mask (B, 1, N, M) of layers with the given mask function."""
        from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

        rule = self.tokens.can_attend_to(self.seen, mask_function is causal_mask_function)[:, None]
        if mask_function is not causal_mask_function and mask_function is not bidirectional_mask_function:
            batch = torch.arange(len(rule), device=rule.device)[:, None, None, None]
            queries, keys = self.positions[:, None, :, None], positions_of(self.seen)[:, None, None, :]
            rule = rule & mask_function(batch, torch.zeros_like(batch), queries, keys)
        self.made.append(rule)
        return rule


def positions_of(seen: Tokens) -> Tensor:
    """Return the positions (B, M) of tokens, i.e. the number of valid tokens before each.

    Decoding writes words to free slots of the cache, so tokens are ordered by block first and by slot within a block.
    """
    order = seen.block_ids.argsort(dim=1, stable=True)
    count = seen.mask.gather(1, order).cumsum(1) - 1
    return torch.empty_like(count).scatter_(1, order, count).clamp_(min=0)


class LayerCache:
    """The cache for one forward pass, with separate entries for each call of a layer that is shared (ALBERT)."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.calls = cache, Counter[nn.Module]()

    def grow(self, owner: nn.Module, key: Tensor, value: Tensor) -> list[Tensor]:
        """Append keys and values (B, heads, N, D) to those of the same call of ``owner`` and return all of them."""
        self.calls[owner] += 1
        parts = self.cache.grow((owner, self.calls[owner]), key.transpose(1, 2), value.transpose(1, 2))
        return [part.transpose(1, 2) for part in parts]


_masks: ContextVar[LayerMasks | None] = ContextVar("masks", default=None)
_decoding: ContextVar[LayerCache | None] = ContextVar("decoding", default=None)


@contextmanager
def reading(masks: LayerMasks, cache: Cache | None) -> Iterator[None]:
    """Set the masks, and the cache for keys and values, of Hugging Face models that run inside the context."""
    resets = _masks.set(masks), _decoding.set(None if cache is None else LayerCache(cache))
    try:
        yield
    finally:
        _masks.reset(resets[0])
        _decoding.reset(resets[1])


def register() -> str:
    """Register this attention and its masks with transformers and return their name."""
    from transformers import AttentionInterface, AttentionMaskInterface

    for name, attention in ((NAME, attend_heads), (CHECKED, attend_checked)):
        AttentionInterface.register(name, attention)
        AttentionMaskInterface.register(name, layer_mask)
    return NAME


def layer_mask(*_: Any, mask_function: MaskFunction, **__: Any) -> Tensor:
    """Return the mask (B, 1, N, M) of layers with a mask function; transformers calls this.

    Raises:
        InputError: the model does not run inside ``reading``.
    """
    masks = _masks.get()
    if masks is None:
        raise InputError("a model with this attention runs only through the trunk of its text encoder")
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
    """Compute the attention of a layer; transformers calls this through its attention interface.

    Args:
        owner: the layer.
        query: (B, heads, N, D).
        key: (B, groups, M, D); each group serves heads / groups heads.
        value: (B, groups, M, D).
        attention_mask: (B, 1, N, M), either boolean, True if a query may attend to a key, or added to the logits.
        dropout: dropout of the attention weights.
        scaling: see ``Logits``.
        softcap: see ``Logits``.
        s_aux: see ``Logits.sinks``.
        others: arguments that the mask already covers, or that are None or False.

    Returns:
        output (B, N, heads, D), and None for the attention weights.

    Raises:
        InputError: an argument is not implemented here.
    """
    for name, argument in others.items():
        if argument is not None and argument is not False and name not in _IN_THE_MASK:
            raise InputError(f"its {type(owner).__name__} passes {name!r}, which the attention here does not implement")
    controlled = current_pass()
    if controlled is not None:
        attention_mask = controlled.narrow(attention_mask)
    cache = _decoding.get()
    if cache is not None:
        key, value = cache.grow(owner, key, value)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    output = read_heads(owner, query, key, value, attention_mask, dropout, Logits(scaling, softcap, s_aux))
    return output.transpose(1, 2).contiguous(), None


def attend_checked(
    owner: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **others: Any
) -> tuple[Tensor, None]:
    """Check that the layer uses an unchanged mask of ``layer_mask``, then call ``attend_heads``.

    Raises:
        InputError: the layer uses another mask.
    """
    masks = _masks.get()
    layer_masks = masks.made if masks is not None else []
    if attention_mask is None or not any(torch.equal(attention_mask, mask) for mask in layer_masks):
        raise InputError(f"its {type(owner).__name__} does not use the mask that it is given")
    return attend_heads(owner, query, key, value, attention_mask, **others)

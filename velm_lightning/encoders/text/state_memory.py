"""The states of prompts that a frozen trunk has encoded, kept in memory for the next epoch."""

from __future__ import annotations

from collections.abc import Callable
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from velm_lightning.types import TextInput, Tokens

_LIMIT = 2**31
"""Bytes of states that are kept; further prompts are encoded each time."""
_TOGETHER = 32
"""Prompts that are encoded together."""


class StateMemory:
    """Keeps the states of each prompt as float16, by its word ids.

    States are kept only for the embeddings that ``embedded`` was called with, if they contain no target words and
    nothing differentiates or counts their computation.
    """

    def __init__(self) -> None:
        self._states: dict[bytes, Tensor] = {}
        self._size = 0
        self._embeddings: ReferenceType[Tensor] | None = None
        self._words: TextInput | None = None

    def clear(self) -> None:
        """Forget all states."""
        self._states, self._size = {}, 0

    def embedded(self, embeddings: Tensor, words: TextInput) -> None:
        """Store which words the next embeddings (B, N, D) stand for."""
        self._embeddings, self._words = ref(embeddings), words

    def states(self, tokens: Tokens, encode: Callable[[Tokens], Tensor]) -> Tensor:
        """Return the states (B, N, D) of tokens (B, N, D); ``encode`` computes those that are not kept."""
        words = self._words
        known = self._embeddings is not None and self._embeddings() is tokens.embeddings
        if words is None or not known or not _can_be_kept(tokens):
            return encode(tokens)
        mask = tokens.mask
        ids = words.ids.cpu().numpy()
        keys = [row[valid].tobytes() for row, valid in zip(ids, mask.cpu().numpy(), strict=True)]
        missing = list({key: index for index, key in enumerate(keys) if key not in self._states}.values())
        computed = self._keep(tokens, keys, missing, encode) if missing else {}
        result = tokens.embeddings.new_zeros(tokens.embeddings.shape)
        kept = [computed.get(key, self._states.get(key)) for key in keys]
        result[mask] = torch.cat([state for state in kept if state is not None]).to(result)
        return result

    def _keep(
        self, tokens: Tokens, keys: list[bytes], missing: list[int], encode: Callable[[Tokens], Tensor]
    ) -> dict[bytes, Tensor]:
        """Return the states of rows that are not kept, and keep them if there is room."""
        lengths = tokens.mask.sum(1).tolist()
        order = sorted(missing, key=lengths.__getitem__)  # prompts of similar length have little padding
        computed: dict[bytes, Tensor] = {}
        for start in range(0, len(order), _TOGETHER):
            computed |= _encoded(tokens, keys, order[start : start + _TOGETHER], encode)
        for key, value in computed.items():
            if self._size + value.nbytes <= _LIMIT:
                self._states[key], self._size = value, self._size + value.nbytes
        return computed


def _encoded(
    tokens: Tokens, keys: list[bytes], rows: list[int], encode: Callable[[Tokens], Tensor]
) -> dict[bytes, Tensor]:
    """Return the states of some rows, encoded together, as float16 without padding."""
    part = tokens.rows(torch.tensor(rows, device=tokens.mask.device))
    longest = max(1, int(part.mask.sum(1).max()))
    if not bool(part.mask[:, longest:].any()):  # the rest is padding of longer rows
        part = part.slice(0, longest)
    states = encode(part).detach()
    with torch.inference_mode(False):  # states of an evaluation are used in training
        pairs = zip(rows, states, part.mask, strict=True)
        return {keys[row]: state[valid].half().clone() for row, state, valid in pairs}


def _can_be_kept(tokens: Tokens) -> bool:
    counted = _get_current_dispatch_mode() is not None
    return not (tokens.embeddings.requires_grad or counted or bool(tokens.block_ids.any()))

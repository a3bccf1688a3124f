"""LSTM and GRU text encoders."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from typing_extensions import override

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.encoders.layer_control import LayerControl
from velm_lightning.errors import at_least, within
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import TextInput, Tokens


class RNNTextEncoder(TextEncoder):
    """A recurrent network from left to right (LSTM, Hochreiter & Schmidhuber 1997; GRU, Cho et al. 2014).

    Padding at any place is skipped: the state passes from one valid token to the next.

    Args:
        dim: width of a token and of the state.
        depth: number of layers.
        cell: ``lstm`` or ``gru``.
        dropout: dropout on embeddings and between layers.

    Raises:
        InputError: ``dim`` or ``depth`` is less than 1, or ``dropout`` is not between 0 and 1.

    Example:
        >>> import velm_lightning as velm
        >>> velm.RNNTextEncoder(dim=32, cell="gru").causal
        True
    """

    causal = True

    def __init__(
        self, dim: int = 128, depth: int = 1, cell: Literal["lstm", "gru"] = "lstm", dropout: float = 0.1
    ) -> None:
        super().__init__()
        at_least(1, "text_encoder", dim=dim, depth=depth)
        within(0, 1, "text_encoder", dropout=dropout)
        self.dim = dim
        self.drop = nn.Dropout(dropout)
        self.is_lstm = cell == "lstm"
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.cells = kind(dim, dim, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)

    @override
    def build(self, vocabulary: Vocabulary) -> None:
        self.embedding = nn.Embedding(vocabulary.size, self.dim)
        nn.init.normal_(self.embedding.weight, std=self.dim**-0.5)

    @override
    def embed(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        return Tokens(self.drop(self.embedding(words.ids) * self.dim**0.5), words.mask, words.block_ids)

    @override
    def trunk(self, tokens: Tokens, cache: Cache | None = None, control: LayerControl | None = None) -> Tokens:
        order = (~tokens.mask).to(torch.uint8).argsort(dim=1, stable=True)[..., None]  # valid tokens first
        order = order.expand_as(tokens.embeddings)
        lengths = tokens.mask.sum(1).cpu()
        packed = pack_padded_sequence(
            tokens.embeddings.gather(1, order), lengths, batch_first=True, enforce_sorted=False
        )
        before = (
            None if cache is None or self not in cache.recurrent_states else self._state(cache.recurrent_states[self])
        )
        packed_states, after = self.cells(packed, before)
        if cache is not None:  # the cache expects the batch dimension first
            cache.recurrent_states[self] = tuple(part.transpose(0, 1) for part in (after if self.is_lstm else (after,)))
        states, _ = pad_packed_sequence(packed_states, batch_first=True, total_length=tokens.embeddings.shape[1])
        return tokens.with_embeddings(torch.zeros_like(states).scatter(1, order, states))

    def _state(self, parts: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        turned = tuple(part.transpose(0, 1).contiguous() for part in parts)  # each (layers, R, D)
        return turned if self.is_lstm else turned[0]

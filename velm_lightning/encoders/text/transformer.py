"""A Transformer text encoder, trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.encoders.layer_control import LayerControl
from velm_lightning.errors import InputError, at_least, within
from velm_lightning.nn.attention import Block, attention_mask, narrowed
from velm_lightning.nn.kv_cache import Cache
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import TextInput, Tokens


class TransformerTextEncoder(TextEncoder):
    """A pre-norm Transformer with learned position embeddings, causal or bidirectional on the prompt.

    Args:
        dim: width of a token.
        depth: number of layers.
        heads: attention heads; divides ``dim``.
        dropout: dropout on embeddings, in attention and residual branches.
        max_positions: maximum number of word pieces, prompt and target together.
        causal: whether the prompt is also encoded from left to right, as in GPT.
        feed_forward: width of the inner layer of each feed-forward network; by default ``4 * dim``.

    Raises:
        InputError: a size is less than 1, ``heads`` does not divide ``dim``, or ``dropout`` is not between 0 and 1.

    Example:
        >>> import velm_lightning as velm
        >>> encoder = velm.TransformerTextEncoder(dim=64, depth=2, heads=4, causal=True)
        >>> encoder.dim
        64
    """

    def __init__(
        self,
        dim: int = 128,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        max_positions: int = 256,
        causal: bool = False,
        feed_forward: int | None = None,
    ) -> None:
        super().__init__()
        at_least(1, "text_encoder", dim=dim, depth=depth, max_positions=max_positions, feed_forward=feed_forward)
        within(0, 1, "text_encoder", dropout=dropout)
        self.dim, self.causal = dim, causal
        self.position = nn.Parameter(torch.randn(max_positions, dim) * 0.5)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Block(dim, heads, dropout, inner=feed_forward) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    @override
    def build(self, vocabulary: Vocabulary) -> None:
        self.embedding = nn.Embedding(vocabulary.size, self.dim)
        nn.init.normal_(self.embedding.weight, std=self.dim**-0.5)

    @override
    def embed(self, words: TextInput, cache: Cache | None = None) -> Tokens:
        """Embed word pieces as ``TextEncoder.embed`` does and add position embeddings.

        Raises:
            InputError: the sequence is longer than ``max_positions``.
        """
        if cache is None:
            self._check(words.ids.shape[1])
            position = self.position[: words.ids.shape[1]]
        else:
            place = self._places(words.mask, cache)
            self._check(int(place.max()) + 1)
            position = F.embedding(place, self.position)
        return Tokens(self.drop(self.embedding(words.ids) * self.dim**0.5 + position), words.mask, words.block_ids)

    def _check(self, length: int) -> None:
        if length > len(self.position):
            raise InputError(
                f"text_encoder.max_positions must be at least the length of the text ({length}), "
                f"got {len(self.position)}: raise it or lower data.max_length"
            )

    def _places(self, valid: Tensor, cache: Cache) -> Tensor:
        """Return the positions (B, N) of word pieces, which padding does not advance."""
        before = cache.recurrent_states.get(self, (valid.new_zeros(len(valid), dtype=torch.long),))[0]
        end = before[:, None] + valid.cumsum(1)
        cache.recurrent_states[self] = (end[:, -1],)
        return (end - 1).clamp(min=0)

    @override
    def trunk(self, tokens: Tokens, cache: Cache | None = None, control: LayerControl | None = None) -> Tokens:
        keys = tokens if cache is None else cache.places(self, tokens)
        x, mask, control = tokens.embeddings, attention_mask(tokens, keys, self.causal), control or LayerControl()
        for index, layer in enumerate(self.layers):
            x = control.before(index, x)
            x = control.apply(index, layer, x, narrowed(mask, control.visible(index, tokens, keys), x), cache)
        return tokens.with_embeddings(self.norm(x))

    @override
    def open_layers(self) -> Sequence[nn.Module]:
        return list(self.layers)

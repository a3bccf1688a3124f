"""Constraints on the next token: banned tokens, minimum length and repeated n-grams."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from velm_lightning.types import InputError


class Rules:
    """Sets the logits of forbidden tokens to -inf, in place; all other logits stay as they are.

    Args:
        end: the end-of-sentence token.
        min_length: the minimum number of tokens before the end.
        no_repeat_ngram: the size of the n-grams that may occur only once; 0 allows repetition.
        banned: tokens that are never generated.
    """

    def __init__(self, end: int, min_length: int = 0, no_repeat_ngram: int = 0, banned: Collection[int] = ()) -> None:
        self.end, self.min_length, self.no_repeat_ngram = end, min_length, no_repeat_ngram
        self.banned = sorted(banned)
        self._banned: Tensor | None = None

    def apply(self, logits: Tensor, tokens: Tensor) -> None:
        """Set the logits of forbidden tokens to -inf in place.

        Args:
            logits: (R, V) of the next tokens.
            tokens: (R, T) the tokens generated so far.

        Raises:
            InputError: the end or a banned token is outside of the vocabulary; checked at the first token only.
        """
        length = tokens.shape[1]
        if length == 0:
            self._check(logits.shape[1])
        if self.banned:
            if self._banned is None:
                self._banned = torch.tensor(self.banned, device=logits.device)
            logits.index_fill_(1, self._banned, float("-inf"))
        if length < self.min_length:
            logits[:, self.end] = float("-inf")
        if 0 < self.no_repeat_ngram <= length:
            forbid_repeats(logits, tokens, self.no_repeat_ngram)

    def _check(self, size: int) -> None:
        for token in (self.end, *self.banned):
            if not 0 <= token < size:
                name = "end" if token == self.end else "banned"
                raise InputError(f"{name} must name tokens of the vocabulary, from 0 to {size - 1}, got {token}")


def forbid_repeats(logits: Tensor, tokens: Tensor, size: int) -> None:
    """Forbid in logits (R, V) each token that would repeat an n-gram of tokens (R, T), with T at least ``size``."""
    ngrams = tokens.unfold(1, size, 1)  # (R, T - size + 1, size)
    last = tokens[:, None, tokens.shape[1] - size + 1 :]  # (R, 1, size - 1)
    repeats = (ngrams[:, :, :-1] == last).all(2)
    penalty = torch.zeros_like(repeats, dtype=logits.dtype).masked_fill_(repeats, float("-inf"))
    logits.scatter_add_(1, ngrams[:, :, -1], penalty)

"""What may be said next: forbidden words, lengths, repeated n-grams, and a closed set of sentences."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from torch import Tensor

from velm_lightning.types import InputError

Allowed = Callable[[int, list[int]], Collection[int]]
"""(sample, its words so far) -> the words that may follow, the end among them where the sentence may end."""


class PrefixTrie:
    """Lets a search say given sentences only: the answers of a closed vocabulary, names (De Cao et al. 2021).

    Args:
        sequences: the sentences as words, without their end.
        end: the word that ends a sentence.

    Raises:
        InputError: there is no sequence, or one holds the end.
    """

    def __init__(self, sequences: Iterable[Sequence[int]], end: int) -> None:
        self.longest = -1
        self._follow: dict[tuple[int, ...], dict[int, None]] = {}
        for sequence in sequences:
            words = (*(int(word) for word in sequence), end)
            if end in words[:-1]:
                raise InputError(
                    f"the allowed sequence {list(words[:-1])} holds the end {end}: give it without its end"
                )
            for place, word in enumerate(words):
                self._follow.setdefault(words[:place], {})[word] = None
            self.longest = max(self.longest, len(words) - 1)
        if self.longest < 0:
            raise InputError("a PrefixTrie of no sequences allows nothing: give at least one sequence")

    def __call__(self, sample: int, words: list[int]) -> Collection[int]:
        """Return the words that may follow ``words``; the same for every sample."""
        return self._follow.get(tuple(words), ())


class Rules:
    """Sets the logits of forbidden words to -inf, in place; what is left keeps the model's own probabilities.

    Args:
        end: the word that ends a sentence.
        max_length: most words, the end included.
        min_length: fewest words before the end.
        no_repeat_ngram: length of the runs that may not occur twice; 0 for none.
        banned: words that are never said.
        allowed: which words may follow.

    Raises:
        InputError: a sequence of a ``PrefixTrie`` does not fit into ``max_length``.
    """

    def __init__(
        self,
        end: int,
        max_length: int,
        min_length: int = 0,
        no_repeat_ngram: int = 0,
        banned: Collection[int] = (),
        allowed: Allowed | None = None,
    ) -> None:
        if isinstance(allowed, PrefixTrie) and allowed.longest >= max_length:
            raise InputError(
                f"max_length={max_length} cuts allowed sequences of {allowed.longest} words and their end: "
                f"give at least {allowed.longest + 1}"
            )
        self.end, self.min_length, self.no_repeat_ngram = end, min_length, no_repeat_ngram
        self.banned, self.allowed = sorted(banned), allowed
        self._banned: Tensor | None = None

    def apply(self, logits: Tensor, words: Tensor, samples: Tensor, alive: Tensor) -> None:
        """Forbid in place.

        Args:
            logits: (R, V) of the next words.
            words: (R, T) the words so far.
            samples: (R,) number of the sample that each row belongs to.
            alive: (R,) bool; rows whose hypothesis is over are not asked about.
        """
        length = words.shape[1]
        if length == 0:
            self._check(logits.shape[1])
        if self.banned:
            if self._banned is None:
                self._banned = torch.tensor(self.banned, device=logits.device)
            logits.index_fill_(1, self._banned, float("-inf"))
        if length < self.min_length:
            logits[:, self.end] = float("-inf")
        if 0 < self.no_repeat_ngram <= length:
            forbid_repeats(logits, words, self.no_repeat_ngram)
        if self.allowed is not None:
            keep_allowed(logits, words, samples, alive, self.allowed)

    def _check(self, vocabulary: int) -> None:
        for word in (self.end, *self.banned):
            _check_word(word, vocabulary, "end" if word == self.end else "banned")


def forbid_repeats(logits: Tensor, words: Tensor, size: int) -> None:
    """Forbid in logits (R, V) each word that would repeat a run of ``size`` words of ``words`` (R, T >= size)."""
    runs = words.unfold(1, size, 1)  # (R, T - size + 1, size)
    last = words[:, None, words.shape[1] - size + 1 :]  # (R, 1, size - 1)
    repeats = (runs[:, :, :-1] == last).all(2)
    penalty = torch.zeros_like(repeats, dtype=logits.dtype).masked_fill_(repeats, float("-inf"))
    logits.scatter_add_(1, runs[:, :, -1], penalty)


def keep_allowed(logits: Tensor, words: Tensor, samples: Tensor, alive: Tensor, allowed: Allowed) -> None:
    """Forbid in logits (R, V) all words but those that ``allowed`` names for a row."""
    rows: list[int] = []
    kept: list[int] = []
    asked = zip(samples.tolist(), words.tolist(), alive.tolist(), strict=True)
    for row, (sample, so_far, lives) in enumerate(asked):
        following = list(allowed(sample, so_far)) if lives else []
        rows += [row] * len(following)
        kept += following
    for word in (min(kept, default=0), max(kept, default=0)):
        _check_word(word, logits.shape[1], "allowed")
    penalty = torch.full_like(logits, float("-inf"))
    penalty[torch.tensor(rows, dtype=torch.long), torch.tensor(kept, dtype=torch.long)] = 0
    logits += penalty


def _check_word(word: int, vocabulary: int, name: str) -> None:
    if not 0 <= word < vocabulary:
        raise InputError(f"{name}: {word} is not a word of the vocabulary: give numbers from 0 to {vocabulary - 1}")

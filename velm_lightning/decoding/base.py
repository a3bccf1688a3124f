"""What every decoding shares: the steps it asks of a model, the hypotheses it returns, its limits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from velm_lightning.decoding.rules import Allowed, Rules
from velm_lightning.io.configurable import Configurable
from velm_lightning.types import InputError


class Steps(Protocol):
    """A model that has read its prompts; its rows are hypotheses, and a sample's rows stand together.

    Logits that it returns are given away: the search writes over them.
    """

    def start(self) -> Tensor:
        """Return the logits (B, V) of each sample's first word."""
        ...

    def expand(self, count: int) -> None:
        """Repeat every row ``count`` times in place: B -> B * count rows; called at most once, right after start."""
        ...

    def step(self, ids: Tensor) -> Tensor:
        """Take the words just chosen (R,), return the logits (R, V) of the next."""
        ...

    def reorder(self, rows: Tensor) -> None:
        """Replace row i by row ``rows[i]`` (R,), which is always one of the same sample."""
        ...

    def select(self, rows: Tensor) -> None:
        """Keep only these rows (R',), in this order: all those of the samples that are still searched."""
        ...


class Hypothesis(NamedTuple):
    """A sentence that a search found.

    Attributes:
        ids: its words, without the end.
        score: ``log_probability / length ** length_penalty``; the length counts the end where there is one.
        log_probability: sum over its words and its end of the model's own log-probabilities: temperature, truncation
            and forbidden words decide what is chosen, and change no probability. -inf, with no words: nothing was
            allowed.
    """

    ids: list[int]
    score: float
    log_probability: float


class Decoding(Configurable, ABC):
    """How sentences are drawn from a model, with the limits that all ways share.

    Samples whose search is done leave the model's rows at once, and cost no more.

    Args:
        max_length: most words of a hypothesis, the end being one of them; at this length it is cut and kept as it is.
        min_length: fewest words before the end.
        no_repeat_ngram: no run of this many words occurs twice in a hypothesis; 0 allows repetition.

    Raises:
        InputError: a limit is out of its range.
    """

    def __init__(self, max_length: int = 32, min_length: int = 0, no_repeat_ngram: int = 0) -> None:
        check(max_length >= 1, f"max_length={max_length} leaves no room for a word: give at least 1")
        check(0 <= min_length <= max_length, f"min_length={min_length} is not between 0 and max_length={max_length}")
        check(no_repeat_ngram >= 0, f"no_repeat_ngram={no_repeat_ngram} is negative: give 0 to allow repetition")
        self.max_length, self.min_length, self.no_repeat_ngram = max_length, min_length, no_repeat_ngram

    def __call__(
        self,
        steps: Steps,
        end: int,
        *,
        banned: Collection[int] = (),
        allowed: Allowed | None = None,
        generator: torch.Generator | None = None,
    ) -> list[list[Hypothesis]]:
        """Search every sample of ``steps``.

        Args:
            steps: the model after its prompts; used up by the search.
            end: the word that ends a sentence.
            banned: words that are never said (padding, start, unknown).
            allowed: which words may follow the words so far, a ``PrefixTrie`` for instance.
            generator: where the draws of a sampling come from, on the device of the logits; other searches ignore it.

        Returns:
            Per sample at least one hypothesis, best first.

        Raises:
            InputError: a word is outside of the vocabulary, or an allowed sequence longer than ``max_length``.
        """
        rules = Rules(end, self.max_length, self.min_length, self.no_repeat_ngram, banned, allowed)
        with torch.inference_mode():
            return self.search(steps, rules, generator)

    @abstractmethod
    def search(self, steps: Steps, rules: Rules, generator: torch.Generator | None) -> list[list[Hypothesis]]:
        """Search every sample of ``steps`` under ``rules``."""


def hypotheses(ids: Tensor, length: Tensor, score: Tensor, total: Tensor, end: int) -> list[list[Hypothesis]]:
    """Write down, best first, what stands in ids (B, K, T), length, score and log-probability (B, K)."""
    found = []
    for sample in zip(ids.tolist(), length.tolist(), score.tolist(), total.tolist(), strict=True):
        rows = [
            Hypothesis(words[: size - 1 if words[size - 1] == end else size], value, sum_)
            for words, size, value, sum_ in zip(*sample, strict=True)
            if value != float("-inf")
        ]
        found.append(sorted(rows, key=lambda row: -row.score) or [Hypothesis([], float("-inf"), float("-inf"))])
    return found


def check(holds: bool, otherwise: str) -> None:
    """Refuse a value that the user gave."""
    if not holds:
        raise InputError(otherwise)

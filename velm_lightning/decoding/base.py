"""The base class of decoding, the steps that it requires of a model, and the hypotheses that it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from velm_lightning.decoding.rules import Rules
from velm_lightning.io.configurable import Configurable
from velm_lightning.types import InputError


class Steps(Protocol):
    """A model with its prompts; its rows are hypotheses, and the rows of a sample are contiguous.

    The search may overwrite the returned logits.
    """

    def start(self) -> Tensor:
        """Return the logits (B, V) of each sample's first token."""
        ...

    def expand(self, count: int) -> None:
        """Repeat every row ``count`` times in place: B -> B * count rows; called at most once, right after start."""
        ...

    def step(self, ids: Tensor) -> Tensor:
        """Append the chosen tokens (R,) and return the logits (R, V) of the next."""
        ...

    def reorder(self, rows: Tensor) -> None:
        """Replace row i by row ``rows[i]`` (R,), which always belongs to the same sample."""
        ...

    def select(self, rows: Tensor) -> None:
        """Keep only these rows (R',), in this order: all rows of the samples whose search continues."""
        ...


class Hypothesis(NamedTuple):
    """A generated sentence.

    Attributes:
        ids: its tokens, without the end.
        score: ``log_probability / length ** length_penalty``; the length counts the end, if there is one.
        log_probability: the sum of the model's log-probabilities of its tokens and its end. Temperature, truncation
            and banned tokens affect the choice, but no probability. -inf, with no tokens, if nothing could be
            generated.
    """

    ids: list[int]
    score: float
    log_probability: float


class Decoding(Configurable, ABC):
    """Generates sentences from a model's token probabilities, within limits that all searches share.

    Rows of samples whose search has ended are removed from the model immediately.

    Args:
        max_length: the maximum number of tokens of a hypothesis, the end included; a hypothesis that reaches it
            without an end is kept as it is.
        min_length: the minimum number of tokens before the end.
        no_repeat_ngram: the size of the n-grams that may occur only once in a hypothesis; 0 allows repetition.

    Raises:
        InputError: a limit is out of its range.
    """

    def __init__(self, max_length: int = 32, min_length: int = 0, no_repeat_ngram: int = 0) -> None:
        check(max_length >= 1, f"max_length must be at least 1, got {max_length}")
        check(
            0 <= min_length <= max_length,
            f"min_length must be between 0 and max_length={max_length}, got {min_length}",
        )
        check(no_repeat_ngram >= 0, f"no_repeat_ngram must be at least 0, got {no_repeat_ngram}")
        self.max_length, self.min_length, self.no_repeat_ngram = max_length, min_length, no_repeat_ngram

    def __call__(
        self,
        steps: Steps,
        end: int,
        *,
        banned: Collection[int] = (),
        generator: torch.Generator | None = None,
    ) -> list[list[Hypothesis]]:
        """Generate sentences for every sample of ``steps``.

        Args:
            steps: the model with its prompts; the search changes its state, so it cannot be used again.
            end: the end-of-sentence token.
            banned: tokens that are never generated (padding, start, unknown).
            generator: the random numbers of sampling, on the device of the logits; other searches ignore it.

        Returns:
            At least one hypothesis per sample, best first.

        Raises:
            InputError: the end or a banned token is outside of the vocabulary.
        """
        rules = Rules(end, self.min_length, self.no_repeat_ngram, banned)
        with torch.inference_mode():
            return self.search(steps, rules, generator)

    @abstractmethod
    def search(self, steps: Steps, rules: Rules, generator: torch.Generator | None) -> list[list[Hypothesis]]:
        """Return the hypotheses of every sample of ``steps`` under ``rules``, best first."""


def hypotheses(ids: Tensor, length: Tensor, score: Tensor, total: Tensor, end: int) -> list[list[Hypothesis]]:
    """Convert ids (B, K, T) and the lengths, scores and log-probabilities (B, K) to hypotheses, best first."""
    results = []
    for sample in zip(ids.tolist(), length.tolist(), score.tolist(), total.tolist(), strict=True):
        rows = [
            Hypothesis(tokens[: size - 1 if tokens[size - 1] == end else size], value, log_probability)
            for tokens, size, value, log_probability in zip(*sample, strict=True)
            if value != float("-inf")
        ]
        results.append(sorted(rows, key=lambda row: -row.score) or [Hypothesis([], float("-inf"), float("-inf"))])
    return results


def check(valid: bool, message: str) -> None:
    """Raise ``InputError(message)`` unless ``valid``."""
    if not valid:
        raise InputError(message)

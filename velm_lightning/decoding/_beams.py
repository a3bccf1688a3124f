"""The tensors of a beam search: hypotheses that grow, their continuations, and those that have ended."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NONE = float("-inf")  # the score of a place that holds no hypothesis


class Live(NamedTuple):
    """Hypotheses that grow, best first."""

    samples: Tensor  # (B,) which sample
    words: Tensor  # (B, K, T)
    total: Tensor  # (B, K) sums of log-probabilities
    greedy: Tensor  # (B, K) bool: this one took the likeliest word each time; followed up only where it must be kept

    @staticmethod
    def begin(size: int, beams: int, max_length: int, device: torch.device) -> Live:
        """Return one hypothesis without words a sample, and places for the others."""
        first = torch.zeros(size, beams, dtype=torch.bool, device=device)
        first[:, 0] = True
        total = torch.full((size, beams), NONE, device=device).masked_fill_(first, 0.0)
        words = torch.zeros(size, beams, max_length, dtype=torch.long, device=device)
        return Live(torch.arange(size, device=device), words, total, first)

    def take(self, samples: Tensor) -> Live:
        """Return these samples alone."""
        return Live(*(field[samples] for field in self))


class Finished(NamedTuple):
    """The best hypotheses that have ended, best first."""

    words: Tensor  # (B, K, T)
    length: Tensor  # (B, K) with the end
    total: Tensor  # (B, K)
    score: Tensor  # (B, K)

    @staticmethod
    def begin(live: Live) -> Finished:
        """Return places for as many hypotheses as are live."""
        none = torch.full_like(live.total, NONE)
        return Finished(live.words, live.words[:, :, 0], none, none)

    def take(self, samples: Tensor) -> Finished:
        """Return these samples alone."""
        return Finished(*(field[samples] for field in self))


class Grown(NamedTuple):
    """The best continuations by one word, best first: 2 K, so that K go on even if K end."""

    words: Tensor  # (B, 2 K, T) the last one included
    parent: Tensor  # (B, 2 K) the hypothesis continued
    total: Tensor  # (B, 2 K)
    greedy: Tensor | None  # (B, 2 K) bool

    def finish(self, finished: Finished, ended: Tensor, length: int, penalty: float) -> Finished:
        """Put those that ended (B, 2 K) among the finished, if they stood in the best half, and keep the K best."""
        beams = finished.score.shape[1]
        eligible = self.greedy.clone() if self.greedy is not None else torch.zeros_like(ended)
        eligible[:, :beams] = True
        score = (self.total / length**penalty).masked_fill(~(ended & eligible), NONE)
        score, index = torch.cat([finished.score, score], dim=1).topk(beams, dim=1)
        return Finished(
            pick(torch.cat([finished.words, self.words], dim=1), index),
            torch.cat([finished.length, torch.full_like(self.parent, length)], dim=1).gather(1, index),
            torch.cat([finished.total, self.total], dim=1).gather(1, index),
            score,
        )

    def go_on(self, live: Live, ended: Tensor) -> tuple[Live, Tensor]:
        """Return the K best that have not ended, and (B, K) whom each continues."""
        greedy = None if self.greedy is None else self.greedy & ~ended
        total, index = best(self.total.masked_fill(ended, NONE), live.total.shape[1], greedy)
        greedy = live.greedy if greedy is None else greedy.gather(1, index)
        return Live(live.samples, pick(self.words, index), total, greedy), self.parent.gather(1, index)


def best(scores: Tensor, count: int, always: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the ``count`` largest of scores (B, N) and their places, best first, ``always`` (B, N) among them."""
    if always is None:
        values, index = scores.topk(count, dim=1)
        return values, index
    index = scores.masked_fill(always, float("inf")).topk(count, dim=1).indices
    values, order = scores.gather(1, index).sort(dim=1, descending=True)
    return values, index.gather(1, order)


def pick(words: Tensor, index: Tensor) -> Tensor:
    """Return the rows ``index`` (B, K) of words (B, N, T)."""
    return words.gather(1, index[:, :, None].expand(-1, -1, words.shape[2]))

"""The tensors of a beam search: live hypotheses, their continuations, and finished hypotheses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NONE = float("-inf")  # the score of a slot that holds no hypothesis


class Live(NamedTuple):
    """Hypotheses that have not ended, best first."""

    samples: Tensor  # (B,) the index of each sample in the batch
    tokens: Tensor  # (B, K, T)
    total: Tensor  # (B, K) sums of log-probabilities

    @staticmethod
    def begin(size: int, beams: int, max_length: int, device: torch.device) -> Live:
        """Return one empty hypothesis per sample; the other slots hold none."""
        first = torch.zeros(size, beams, dtype=torch.bool, device=device)
        first[:, 0] = True
        total = torch.full((size, beams), NONE, device=device).masked_fill_(first, 0.0)
        tokens = torch.zeros(size, beams, max_length, dtype=torch.long, device=device)
        return Live(torch.arange(size, device=device), tokens, total)

    def take(self, samples: Tensor) -> Live:
        """Return only the samples selected by an index or a boolean mask."""
        return Live(*(field[samples] for field in self))


class Finished(NamedTuple):
    """The best hypotheses that have ended, best first."""

    tokens: Tensor  # (B, K, T)
    length: Tensor  # (B, K) the end included
    total: Tensor  # (B, K)
    score: Tensor  # (B, K)

    @staticmethod
    def begin(live: Live) -> Finished:
        """Return as many empty slots as ``live`` has."""
        none = torch.full_like(live.total, NONE)
        return Finished(tokens=live.tokens, length=live.tokens[:, :, 0], total=none, score=none)

    def take(self, samples: Tensor) -> Finished:
        """Return only the samples selected by an index or a boolean mask."""
        return Finished(*(field[samples] for field in self))


class Grown(NamedTuple):
    """The 2 K best continuations by one token, best first: so that K remain even if K of them end."""

    tokens: Tensor  # (B, 2 K, T) the new token included
    parent: Tensor  # (B, 2 K) the hypothesis that is continued
    total: Tensor  # (B, 2 K)

    def finish(self, finished: Finished, ended: Tensor, length: int, penalty: float) -> Finished:
        """Add the continuations that ended (B, 2 K), if they are among the K best, and keep the K best of all."""
        beams = finished.score.shape[1]
        eligible = torch.zeros_like(ended)
        eligible[:, :beams] = True
        score = (self.total / length**penalty).masked_fill(~(ended & eligible), NONE)
        score, index = torch.cat([finished.score, score], dim=1).topk(beams, dim=1)
        return Finished(
            tokens=pick(torch.cat([finished.tokens, self.tokens], dim=1), index),
            length=torch.cat([finished.length, torch.full_like(self.parent, length)], dim=1).gather(1, index),
            total=torch.cat([finished.total, self.total], dim=1).gather(1, index),
            score=score,
        )

    def go_on(self, live: Live, ended: Tensor) -> tuple[Live, Tensor]:
        """Return the K best continuations that have not ended, and the parent (B, K) of each."""
        total, index = self.total.masked_fill(ended, NONE).topk(live.total.shape[1], dim=1)
        return Live(live.samples, pick(self.tokens, index), total), self.parent.gather(1, index)


def pick(tokens: Tensor, index: Tensor) -> Tensor:
    """Return the rows ``index`` (B, K) of tokens (B, N, T)."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))

"""Beam search: the K best hypotheses of each sample are extended in parallel."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from velm_lightning.decoding._beams import NONE, Finished, Grown, Live, pick
from velm_lightning.decoding._top import log_total, top_k
from velm_lightning.decoding.base import Decoding, Hypothesis, Steps, check, hypotheses
from velm_lightning.decoding.rules import Rules
from velm_lightning.errors import within


class BeamSearch(Decoding):
    """Extends the ``beams`` best hypotheses per sample and ranks them by ``sum / length ** length_penalty``.

    Equal to ``transformers.generate(num_beams=beams, max_new_tokens=max_length, min_new_tokens=min_length, ...)``
    with the same ``length_penalty`` and ``early_stopping``, token for token; except that repeated n-grams are counted
    in the generated tokens only, whereas transformers includes those of the prompt.

    Args:
        beams: the number of hypotheses that are kept and returned; fewer are returned if fewer exist.
        length_penalty: the exponent of the length, which counts the end: 0 ranks by probability, 1 by the mean
            log-probability per token; larger values prefer longer sentences.
        early_stopping: when the search of a sample with ``beams`` finished hypotheses stops. ``"never"``: when no live
            hypothesis can exceed the worst finished one at any length up to ``max_length``, so that stopping changes
            no result; ``False``: when no live hypothesis would exceed it at its current length, which is faster
            and finds shorter sentences if the length penalty is positive; ``True``: immediately.

    Raises:
        InputError: a value is out of its range.

    Example:
        >>> import velm_lightning as velm
        >>> task = velm.Generation(decoding=velm.BeamSearch(beams=3, max_length=20))
        >>> task.decoding.beams
        3
    """

    def __init__(
        self,
        beams: int = 5,
        length_penalty: float = 1.0,
        early_stopping: bool | Literal["never"] = "never",
        max_length: int = 32,
        min_length: int = 0,
        no_repeat_ngram: int = 0,
    ) -> None:
        super().__init__(max_length, min_length, no_repeat_ngram)
        check(beams >= 1, f"beams must be at least 1, got {beams}")
        within(-math.inf, math.inf, length_penalty=length_penalty)
        stops = (True, False, "never")
        check(early_stopping in stops, f"early_stopping must be true, false or 'never', got {early_stopping!r}")
        self.beams, self.length_penalty, self.early_stopping = beams, length_penalty, early_stopping

    @override
    def search(self, steps: Steps, rules: Rules, generator: torch.Generator | None) -> list[list[Hypothesis]]:
        logits = steps.start()
        steps.expand(self.beams)
        results: list[list[Hypothesis]] = [[] for _ in logits]
        live = Live.begin(len(logits), self.beams, self.max_length, logits.device)
        finished = Finished.begin(live)
        for length in range(1, self.max_length + 1):
            grown = self._grow(live, logits.float(), length, rules)
            ended = (grown.tokens[:, :, length - 1] == rules.end) | (length == self.max_length)
            if bool(ended.any()):
                finished = grown.finish(finished, ended, length, self.length_penalty)
            live, parent = grown.go_on(live, ended)
            done = self._done(live, finished, length)
            if bool(done.any()):
                _collect(results, live.samples[done], finished.take(done), rules.end)
                open_ = (~done).nonzero()[:, 0]
                if not len(open_):
                    break
                live, finished, parent = live.take(open_), finished.take(open_), parent[open_]
                steps.select(_rows(open_, torch.arange(self.beams, device=open_.device)))
            steps.reorder(_rows(torch.arange(len(parent), device=parent.device), parent))
            logits = steps.step(live.tokens[:, :, length - 1].flatten())
        return results

    def _grow(self, live: Live, logits: Tensor, length: int, rules: Rules) -> Grown:
        """Return the best continuations, given logits (B K, V), or (B, V) for the first token."""
        rows = len(logits) // len(live.samples)  # 1 or K
        norm = log_total(logits)
        rules.apply(logits, live.tokens[:, :rows, : length - 1].flatten(0, 1))
        top, token = top_k(logits, min(2 * self.beams, logits.shape[1]))  # (R, M)
        scores = live.total[:, :, None] + (top - norm[:, None]).view(-1, rows, top.shape[1])  # (B, K, M)
        total, index = scores.flatten(1).topk(2 * self.beams, dim=1)
        parent = index // top.shape[1]
        tokens = pick(live.tokens, parent)
        tokens[:, :, length - 1] = token.view(-1, rows, top.shape[1]).expand_as(scores).flatten(1).gather(1, index)
        return Grown(tokens, parent, total)

    def _done(self, live: Live, finished: Finished, length: int) -> Tensor:
        """Return (B,) bool: K hypotheses have finished and no live one can exceed them, or none is live."""
        longest = self.early_stopping == "never" and self.length_penalty > 0
        horizon = float(self.max_length if longest else length)
        done: Tensor = live.total[:, 0] / horizon**self.length_penalty <= finished.score[:, -1]
        if self.early_stopping is True:
            done |= finished.score[:, -1] > NONE
        return done


def _rows(samples: Tensor, slots: Tensor) -> Tensor:
    """Return the model's rows (B K,) for slots (B, K) or (K,) of samples (B,)."""
    return (samples[:, None] * slots.shape[-1] + slots).flatten()


def _collect(results: list[list[Hypothesis]], samples: Tensor, finished: Finished, end: int) -> None:
    rows = hypotheses(finished.tokens, finished.length, finished.score, finished.total, end)
    for sample, best_first in zip(samples.tolist(), rows, strict=True):
        results[sample] = best_first

"""Beam search: the K best hypotheses of a sample grow side by side."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from velm_lightning.decoding._beams import NONE, Finished, Grown, Live, best, pick
from velm_lightning.decoding._top import log_total, top_k
from velm_lightning.decoding.base import Decoding, Hypothesis, Steps, check, hypotheses
from velm_lightning.decoding.rules import Rules


class BeamSearch(Decoding):
    """Keep the ``beams`` best hypotheses a sample; return as many, best first, by ``sum / length ** length_penalty``.

    The same as ``transformers.generate(num_beams=beams, max_new_tokens=max_length, min_new_tokens=min_length, ...)``
    with equal ``length_penalty`` and ``early_stopping``, token for token; n-grams are counted in what is generated,
    where transformers counts the prompt's too.

    Args:
        beams: hypotheses kept and returned; fewer are returned where fewer are possible.
        length_penalty: exponent of the length, which counts the end: 0 ranks by probability, 1 by the mean
            log-probability of a word, more prefers longer sentences still.
        early_stopping: when a sample that has ``beams`` finished hypotheses is done. ``"never"``: when no growing one
            can beat the worst of them at any length up to ``max_length``, so that nothing is lost by stopping;
            ``False``: when none would if it ended now, which finds shorter sentences and is faster with a positive
            length penalty; ``True``: at once.
        keep_greedy: never drop the hypothesis of ``Greedy``, which takes the place of the worst if it must: the best
            score is then never below greedy's. Plain beam search (and transformers) may prune it.
        max_length: see ``Decoding``.
        min_length: see ``Decoding``.
        no_repeat_ngram: see ``Decoding``.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self,
        beams: int = 5,
        length_penalty: float = 1.0,
        early_stopping: bool | Literal["never"] = "never",
        keep_greedy: bool = False,
        max_length: int = 32,
        min_length: int = 0,
        no_repeat_ngram: int = 0,
    ) -> None:
        super().__init__(max_length, min_length, no_repeat_ngram)
        check(beams >= 1, f"beams={beams} searches nothing: give at least 1")
        stops = (True, False, "never")
        check(early_stopping in stops, f"early_stopping={early_stopping!r} is none of true, false and never")
        self.beams, self.length_penalty = beams, length_penalty
        self.early_stopping, self.keep_greedy = early_stopping, keep_greedy

    def search(self, steps: Steps, rules: Rules, generator: torch.Generator | None) -> list[list[Hypothesis]]:
        """Grow all samples' beams together, dropping samples that are done."""
        logits = steps.start()
        steps.expand(self.beams)
        found: list[list[Hypothesis]] = [[] for _ in logits]
        live = Live.begin(len(logits), self.beams, self.max_length, logits.device)
        finished = Finished.begin(live)
        for length in range(1, self.max_length + 1):
            grown = self._grow(live, logits.float(), length, rules)
            ended = (grown.words[:, :, length - 1] == rules.end) | (length == self.max_length)
            if bool(ended.any()):
                finished = grown.finish(finished, ended, length, self.length_penalty)
            live, parent = grown.go_on(live, ended)
            done = self._done(live, finished, length)
            if bool(done.any()):
                _collect(found, live.samples[done], finished.take(done), rules.end)
                kept = (~done).nonzero()[:, 0]
                if not len(kept):
                    break
                live, finished, parent = live.take(kept), finished.take(kept), parent[kept]
                steps.select(_rows(kept, torch.arange(self.beams, device=kept.device)))
            steps.reorder(_rows(torch.arange(len(parent), device=parent.device), parent))
            logits = steps.step(live.words[:, :, length - 1].flatten())
        return found

    def _grow(self, live: Live, logits: Tensor, length: int, rules: Rules) -> Grown:
        """Continue every hypothesis by its best words; logits (B K, V), or (B, V) while there is one a sample."""
        rows = len(logits) // len(live.samples)  # 1 or K
        norm = log_total(logits)
        so_far = live.words[:, :rows, : length - 1].flatten(0, 1)
        alive = live.total[:, :rows].flatten() > NONE
        rules.apply(logits, so_far, live.samples.repeat_interleave(rows), alive)
        top, word = top_k(logits, min(2 * self.beams, logits.shape[1]))  # (R, M)
        scores = live.total[:, :, None] + (top - norm[:, None]).view(-1, rows, top.shape[1])  # (B, K, M)
        greedy = self._greedy(live, scores)
        total, index = best(scores.flatten(1), 2 * self.beams, greedy)
        parent = index // top.shape[1]
        words = pick(live.words, parent)
        words[:, :, length - 1] = word.view(-1, rows, top.shape[1]).expand_as(scores).flatten(1).gather(1, index)
        return Grown(words, parent, total, None if greedy is None else greedy.gather(1, index))

    def _greedy(self, live: Live, scores: Tensor) -> Tensor | None:
        """Mark, among scores (B, K, M) with each row's likeliest word first, what must stay (B, K M)."""
        if not self.keep_greedy:
            return None
        marked = torch.zeros_like(scores, dtype=torch.bool)
        marked[:, :, 0] = live.greedy & (scores[:, :, 0] > NONE)
        return marked.flatten(1)

    def _done(self, live: Live, finished: Finished, length: int) -> Tensor:
        """Say (B,) which samples have K finished hypotheses that no growing one can beat, or nothing that grows."""
        longest = self.early_stopping == "never" and self.length_penalty > 0
        horizon = float(self.max_length if longest else length)
        done: Tensor = live.total[:, 0] / horizon**self.length_penalty <= finished.score[:, -1]
        if self.early_stopping is True:
            done |= finished.score[:, -1] > NONE
        if self.keep_greedy and self.early_stopping != "never":
            done &= ~(live.greedy & (live.total > NONE)).any(1)
        return done


def _rows(samples: Tensor, slots: Tensor) -> Tensor:
    """Return the model's rows (B K,) for slots (B, K) or (K,) of samples (B,)."""
    return (samples[:, None] * slots.shape[-1] + slots).flatten()


def _collect(found: list[list[Hypothesis]], samples: Tensor, finished: Finished, end: int) -> None:
    rows = hypotheses(finished.words, finished.length, finished.score, finished.total, end)
    for sample, best_first in zip(samples.tolist(), rows, strict=True):
        found[sample] = best_first

"""Searches in which every hypothesis goes its own way: the likeliest word each time, or a drawn one."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from velm_lightning.decoding._top import log_total, top_k
from velm_lightning.decoding.base import Decoding, Hypothesis, Steps, check, hypotheses
from velm_lightning.decoding.rules import Rules


class _Rows(NamedTuple):
    """Hypotheses that are still in the model."""

    samples: Tensor  # (R,) the sample of each row
    words: Tensor  # (R, T)
    length: Tensor  # (R,) words so far, the end included
    total: Tensor  # (R,) sum of log-probabilities
    alive: Tensor  # (R,) bool, false after the end

    def take(self, rows: Tensor) -> _Rows:
        return _Rows(*(field[rows] for field in self))


class StepwiseDecoding(Decoding):
    """One word after another, in ``count`` rows a sample that never cross; a subclass chooses the word."""

    count = 1

    @abstractmethod
    def choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the next words (R,) from logits (R, V) in which forbidden words are -inf."""

    def search(self, steps: Steps, rules: Rules, generator: torch.Generator | None) -> list[list[Hypothesis]]:
        """Walk until every row has ended, dropping samples whose rows all have."""
        logits = steps.start()
        found: list[list[Hypothesis]] = [[] for _ in logits]
        if self.count > 1:
            steps.expand(self.count)
            logits = logits.repeat_interleave(self.count, dim=0)
        rows = self._begin(logits)
        for place in range(self.max_length):
            rows = self._extend(rows, logits.float(), place, rules, generator)
            done = ~rows.alive.view(-1, self.count).any(1)
            if place + 1 == self.max_length:
                done.fill_(True)
            if bool(done.any()):
                over = done.repeat_interleave(self.count)
                self._collect(rows.take(over), found, rules.end)
                kept = (~over).nonzero()[:, 0]
                if not len(kept):
                    break
                rows = rows.take(kept)
                steps.select(kept)
            logits = steps.step(rows.words[:, place])
        return found

    def _begin(self, logits: Tensor) -> _Rows:
        size, device = len(logits), logits.device
        count = torch.zeros(size, dtype=torch.long, device=device)
        words = count[:, None].repeat(1, self.max_length)
        alive = torch.ones(size, dtype=torch.bool, device=device)
        samples = torch.arange(size, device=device) // self.count
        return _Rows(samples, words, count, torch.zeros(size, device=device), alive)

    def _extend(
        self, rows: _Rows, logits: Tensor, place: int, rules: Rules, generator: torch.Generator | None
    ) -> _Rows:
        norm = log_total(logits)
        rules.apply(logits, rows.words[:, :place], rows.samples, rows.alive)
        words = self.choose(logits, generator)
        gain = logits.gather(1, words[:, None])[:, 0] - norm
        total = rows.total + gain.masked_fill(~rows.alive, 0.0)
        rows.words[:, place] = words
        alive = rows.alive & (words != rules.end) & (gain > float("-inf"))
        return rows._replace(length=rows.length + rows.alive, total=total, alive=alive)

    def _collect(self, rows: _Rows, found: list[list[Hypothesis]], end: int) -> None:
        score = rows.total / rows.length
        grouped = [
            field.view(-1, self.count, *field.shape[1:]) for field in (rows.words, rows.length, score, rows.total)
        ]
        words, length, score, total = grouped
        samples = rows.samples[:: self.count].tolist()
        for sample, best in zip(samples, hypotheses(words, length, score, total, end), strict=True):
            found[sample] = best


class Greedy(StepwiseDecoding):
    """The likeliest word each time. Scores are the mean log-probability of a word (length penalty 1).

    Equal to ``transformers.generate(num_beams=1, do_sample=False)``, and to ``Beam`` with one beam and
    ``early_stopping`` true or false, or ``length_penalty`` 0.
    """

    def choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the largest."""
        return top_k(logits, 1)[1][:, 0]


class Sampling(StepwiseDecoding):
    """Words drawn by their probability, from all or from the likeliest few.

    As in transformers: first the temperature, then top-k, then top-p among what top-k left. Scores are those of the
    model itself, as in ``Greedy``.

    Args:
        count: independent hypotheses a sample.
        temperature: divides the logits; below 1 sharper, above 1 flatter.
        top_k: draw from this many likeliest words; 0 for all.
        top_p: draw from the fewest likeliest words whose probabilities reach this sum (the nucleus, Holtzman et al.
            2020); 1 for all.
        max_length: see ``Decoding``.
        min_length: see ``Decoding``.
        no_repeat_ngram: see ``Decoding``.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self,
        count: int = 1,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        max_length: int = 32,
        min_length: int = 0,
        no_repeat_ngram: int = 0,
    ) -> None:
        super().__init__(max_length, min_length, no_repeat_ngram)
        check(count >= 1, f"count={count} draws nothing: give at least 1")
        check(temperature > 0, f"temperature={temperature} is not above 0: use Greedy for the limit at 0")
        check(top_k >= 0, f"top_k={top_k} is negative: give 0 to draw from all words")
        check(0 < top_p <= 1, f"top_p={top_p} is not in (0, 1]: give 1 to draw from all words")
        self.count, self.temperature, self.top_k, self.top_p = count, temperature, top_k, top_p

    def choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw."""
        scaled = logits if self.temperature == 1 else logits / self.temperature
        if not self.top_k and self.top_p == 1:
            return _draw(scaled.softmax(1), generator)
        probability, words = self._likeliest(scaled)
        outside = probability.cumsum(1) - probability >= self.top_p
        drawn = _draw(probability.masked_fill(outside, 0.0), generator)
        return words.gather(1, drawn[:, None])[:, 0]

    def _likeliest(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (R, N), largest first, and their words (R, N)."""
        size = scaled.shape[1]
        values, words = top_k(scaled, min(self.top_k or 256, size))
        if self.top_k:
            return values.softmax(1), words
        probability = (values - log_total(scaled)[:, None]).exp()
        if float(probability.sum(1).min()) < self.top_p:  # the nucleus reaches beyond these words
            values, words = scaled.sort(1, descending=True)
            probability = values.softmax(1)
        return probability, words


def _draw(probability: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw one place (R,) a row by weights (R, N), through their cumulative sum.

    ``torch.multinomial`` needs N random numbers a row, and stops the program at a row in which nothing is allowed.
    """
    reached = probability.cumsum(1, dtype=torch.float64)
    chance = torch.rand(len(reached), 1, dtype=reached.dtype, device=reached.device, generator=generator)
    drawn = torch.searchsorted(reached, chance * reached[:, -1:], right=True)[:, 0]
    return drawn.clamp_max(probability.shape[1] - 1)

"""Greedy decoding and sampling: hypotheses that are extended independently of each other."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from velm_lightning.decoding._top import log_total, top_k
from velm_lightning.decoding.base import Decoding, Hypothesis, Steps, check, hypotheses
from velm_lightning.decoding.rules import Rules


class _Rows(NamedTuple):
    """The hypotheses that are still in the model."""

    samples: Tensor  # (R,) the sample of each row
    tokens: Tensor  # (R, T)
    length: Tensor  # (R,) tokens so far, the end included
    total: Tensor  # (R,) sum of log-probabilities
    alive: Tensor  # (R,) bool: false after the end

    def take(self, rows: Tensor) -> _Rows:
        return _Rows(*(field[rows] for field in self))


class StepwiseDecoding(Decoding):
    """Generates ``count`` independent hypotheses per sample; a subclass chooses each next token."""

    count = 1

    @abstractmethod
    def choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the next tokens (R,), given logits (R, V) in which forbidden tokens are -inf."""

    @override
    def search(self, steps: Steps, rules: Rules, generator: torch.Generator | None) -> list[list[Hypothesis]]:
        logits = steps.start()
        results: list[list[Hypothesis]] = [[] for _ in logits]
        if self.count > 1:
            steps.expand(self.count)
            logits = logits.repeat_interleave(self.count, dim=0)
        rows = self._begin(logits)
        for position in range(self.max_length):
            rows = self._extend(rows, logits.float(), position, rules, generator)
            done = ~rows.alive.view(-1, self.count).any(1)
            if position + 1 == self.max_length:
                done.fill_(True)
            if bool(done.any()):
                over = done.repeat_interleave(self.count)
                self._collect(rows.take(over), results, rules.end)
                open_ = (~over).nonzero()[:, 0]
                if not len(open_):
                    break
                rows = rows.take(open_)
                steps.select(open_)
            logits = steps.step(rows.tokens[:, position])
        return results

    def _begin(self, logits: Tensor) -> _Rows:
        size, device = len(logits), logits.device
        count = torch.zeros(size, dtype=torch.long, device=device)
        tokens = count[:, None].repeat(1, self.max_length)
        alive = torch.ones(size, dtype=torch.bool, device=device)
        samples = torch.arange(size, device=device) // self.count
        return _Rows(samples, tokens, count, torch.zeros(size, device=device), alive)

    def _extend(
        self, rows: _Rows, logits: Tensor, position: int, rules: Rules, generator: torch.Generator | None
    ) -> _Rows:
        norm = log_total(logits)
        rules.apply(logits, rows.tokens[:, :position])
        tokens = self.choose(logits, generator)
        gain = logits.gather(1, tokens[:, None])[:, 0] - norm
        total = rows.total + gain.masked_fill(~rows.alive, 0.0)
        rows.tokens[:, position] = tokens
        alive = rows.alive & (tokens != rules.end) & (gain > float("-inf"))
        return rows._replace(length=rows.length + rows.alive, total=total, alive=alive)

    def _collect(self, rows: _Rows, results: list[list[Hypothesis]], end: int) -> None:
        score = rows.total / rows.length
        grouped = [
            field.view(-1, self.count, *field.shape[1:]) for field in (rows.tokens, rows.length, score, rows.total)
        ]
        tokens, length, score, total = grouped
        samples = rows.samples[:: self.count].tolist()
        for sample, best in zip(samples, hypotheses(tokens, length, score, total, end), strict=True):
            results[sample] = best


class Greedy(StepwiseDecoding):
    """Greedy decoding: the most probable token at each step. Scores are mean log-probabilities per token.

    Equal to ``transformers.generate(num_beams=1, do_sample=False)``, and to ``BeamSearch`` with one beam and
    either ``early_stopping`` true or false, or ``length_penalty`` 0.
    """

    @override
    def choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        return top_k(logits, 1)[1][:, 0]


class Sampling(StepwiseDecoding):
    """Samples each token from the model's distribution, optionally truncated.

    As in transformers: temperature first, then top-k, then top-p over the tokens that top-k leaves. Scores are computed
    from the model's unmodified probabilities, as in ``Greedy``.

    Args:
        count: the number of independent hypotheses per sample.
        temperature: divides the logits; values below 1 sharpen the distribution, values above 1 flatten it.
        top_k: sample from this many most probable tokens; 0 for all.
        top_p: sample from the fewest most probable tokens whose probabilities reach this sum (nucleus sampling,
            Holtzman et al. 2020); 1 for all.

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
        check(count >= 1, f"count must be at least 1, got {count}")
        good = 0 < temperature < math.inf
        check(good, f"temperature must be a finite number above 0, got {temperature}: use Greedy for the limit at 0")
        check(top_k >= 0, f"top_k must be at least 0, got {top_k}: 0 samples from all tokens")
        check(0 < top_p <= 1, f"top_p must be in (0, 1], got {top_p}: 1 samples from all tokens")
        self.count, self.temperature, self.top_k, self.top_p = count, temperature, top_k, top_p

    @override
    def choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        scaled = logits if self.temperature == 1 else logits / self.temperature
        if not self.top_k and self.top_p == 1:
            return _draw(scaled.softmax(1), generator)
        probability, tokens = self._likeliest(scaled)
        outside = probability.cumsum(1) - probability >= self.top_p
        drawn = _draw(probability.masked_fill(outside, 0.0), generator)
        return tokens.gather(1, drawn[:, None])[:, 0]

    def _likeliest(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (R, N), largest first, and their tokens (R, N)."""
        size = scaled.shape[1]
        values, tokens = top_k(scaled, min(self.top_k or 256, size))
        if self.top_k:
            return values.softmax(1), tokens
        probability = (values - log_total(scaled)[:, None]).exp()
        if float(probability.sum(1).min()) < self.top_p:  # the nucleus holds more tokens than these
            values, tokens = scaled.sort(1, descending=True)
            probability = values.softmax(1)
        return probability, tokens


def _draw(probability: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw one column per row (R,) with weights (R, N), by inverting their cumulative sum.

    ``torch.multinomial`` needs N random numbers per row, and raises if all weights of a row are 0.
    """
    reached = probability.cumsum(1, dtype=torch.float64)
    chance = torch.rand(len(reached), 1, dtype=reached.dtype, device=reached.device, generator=generator)
    drawn = torch.searchsorted(reached, chance * reached[:, -1:], right=True)[:, 0]
    return drawn.clamp_max(probability.shape[1] - 1)

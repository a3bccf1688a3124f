"""Sampling weights of training samples that give the answers, including soft ones, requested frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from velm_lightning.types import InputError

TOLERANCE = 1e-6
"""Relative deviation from the requested frequencies at which the iteration stops."""

MOST_STEPS = 500
"""Maximum number of scaling steps; ample for hundreds of answers, a time limit for thousands."""


class Balance(NamedTuple):
    """Weights of samples, and how close they bring the answers to the requested frequencies.

    Attributes:
        weights: (N,) relative frequencies of the samples.
        least: lowest ratio of an answer's frequency to the requested one; 1 if all are met.
        most: highest such ratio.
        effective: number of samples that drawing by these weights amounts to, (sum w)^2 / sum w^2.
    """

    weights: Tensor
    least: float
    most: float
    effective: float

    @property
    def solved(self) -> bool:
        """Whether every answer is drawn as often as requested, within 1 %."""
        return self.least > 0.99 and self.most < 1.01

    def describe(self, exponent: float) -> str:
        """Return a sentence that states the frequencies that were reached."""
        return (
            f"data.balance={exponent:g} cannot be met exactly, because some answers occur only with others: answers "
            f"are drawn {self.least:.2f} to {self.most:.2f} times as often as requested, and the {len(self.weights)} "
            f"samples count as {self.effective:.0f}"
        )


def balance(answers: Sequence[Sequence[tuple[int, float]]], exponent: float) -> Balance:
    """Return weights with which answer a is drawn in proportion to c[a] ** (1 - exponent).

    A sample's weights are normalised to sum to 1, and c[a] is what answer a sums up to over the samples. With hard
    answers the sample weights are c[a] ** -exponent. With soft ones they solve W^T p = t by generalised iterative
    scaling (Darroch & Ratcliff 1972), which converges to the solution nearest to drawing all samples equally or, if
    there is none, to the p whose answer frequencies are nearest to t in Kullback-Leibler divergence (Byrne 1993).
    Samples without a known answer are drawn like those of the most frequent answer.

    Args:
        answers: (index, weight) of each sample's known answers.
        exponent: 0 draws samples equally often, 1 answers.

    Raises:
        InputError: No sample has an answer.

    Example:
        >>> balance([[(0, 1.0)], [(0, 1.0)], [(1, 1.0)]], exponent=1.0).weights.tolist()
        [0.5, 0.5, 1.0]
    """
    entries = [(row, index, weight) for row, given in enumerate(answers) for index, weight in given if weight > 0]
    if not entries:
        raise InputError(
            f"data.balance={exponent:g} needs answers, and no training sample has a known one: set it to 0"
        )
    rows, columns = (torch.tensor([entry[part] for entry in entries]) for part in (0, 1))
    share = torch.tensor([entry[2] for entry in entries], dtype=torch.float64)
    known = torch.zeros(len(answers), dtype=torch.float64).index_add_(0, rows, share)
    share = share / known[rows]
    counts = torch.zeros(int(columns.max()) + 1, dtype=torch.float64).index_add_(0, columns, share)
    wanted = torch.where(counts > 0, counts ** (1 - exponent), 0)
    wanted = wanted / wanted.sum()
    start = counts.float() ** -exponent
    weights = torch.zeros(len(answers)).index_add_(0, rows, share.float() * start[columns])

    def ratios(p: Tensor) -> Tensor:
        """Return the frequency of each answer relative to the requested one; 1 for answers that do not occur."""
        drawn = torch.zeros_like(counts).index_add_(0, columns, share * p[rows])
        return torch.where(counts > 0, drawn / drawn.sum() / wanted, 1)

    hard = len(entries) == int((known > 0).sum())
    p = weights.double() if hard else (known > 0).double()
    ratio = ratios(p)
    for _ in range(0 if hard else MOST_STEPS):
        p = p * torch.zeros_like(p).index_add_(0, rows, share * -ratio[columns].log()).exp()
        p = p / p.sum()
        ratio = ratios(p)
        if float((ratio - 1).abs().max()) < TOLERANCE:
            break
    weights = weights if hard else p.float()
    weights[known == 0] = float(weights[known > 0].min())
    effective = float(p.sum() ** 2 / p.square().sum())
    return Balance(weights, float(ratio.min()), float(ratio.max()), effective)

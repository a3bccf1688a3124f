"""The two passes over the vocabulary that every step makes, in the form that is fast on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALL = 2048  # words below which one plain top-k is the faster
_COLUMN = 8  # words in a column of the folding
_CACHED = 2**20  # numbers in a block that stay in the processor's cache
_TAME = 60.0  # a total below this has no exponential that overflows, above its negative none that vanishes and counts


def log_total(logits: Tensor) -> Tensor:
    """Return the logarithm (R,) of the sum of exponentials of logits (R, V): ``logit - total`` is a log-probability.

    A row of -inf alone gives the smallest number, so that its log-probabilities are -inf rather than NaN. On a CPU,
    some rows at a time, for temporaries of the whole size would cost as much again in fresh memory; and first without
    looking for the largest logit, which takes half of the time and is needed only where exponentials overflow.
    """
    if logits.device.type != "cpu":
        return _finite(logits.logsumexp(1))
    blocks = torch.split(logits, max(1, _CACHED // logits.shape[1]))
    total = torch.cat([block.exp().sum(1) for block in blocks]).log_()
    if not bool((total.abs() < _TAME).all()):
        total = torch.cat([block.logsumexp(1) for block in blocks])
    return _finite(total)


def _finite(total: Tensor) -> Tensor:
    return total.clamp_min_(torch.finfo(total.dtype).min)


def top_k(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` largest of logits (R, V) and their words, each (R, count), largest first.

    On a large vocabulary, first the best columns of a (8, V / 8) folding, by their maxima, then the best words in
    these: exact, because ``count`` columns hold the ``count`` best.
    """
    width = logits.shape[1] // _COLUMN
    if logits.device.type != "cpu" or logits.shape[1] < _SMALL or count * _COLUMN > width:
        values, words = logits.topk(count, dim=1)
        return values, words
    folded = logits[:, : width * _COLUMN].view(-1, _COLUMN, width)  # (R, 8, V / 8)
    columns = folded.amax(1).topk(count, dim=1).indices
    steps = torch.arange(_COLUMN)[:, None] * width
    rest = torch.arange(width * _COLUMN, logits.shape[1]).expand(len(logits), -1)
    words = torch.cat([(columns[:, None, :] + steps).flatten(1), rest], dim=1)
    values, best = logits.gather(1, words).topk(count, dim=1)
    return values, words.gather(1, best)

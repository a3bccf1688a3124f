"""The log normaliser and the top k of each row of logits, in forms that are fast on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALL = 2048  # vocabulary size below which a plain top-k is faster
_COLUMN = 8  # logits per column of the folded vocabulary
_CACHED = 2**20  # numbers per block, so that it stays in the processor's cache
_TAME = 60.0  # totals within this range are exact: no exponential overflowed, none that matters underflowed


def log_total(logits: Tensor) -> Tensor:
    """Return the logarithm (R,) of the sum of exponentials of logits (R, V): ``logit - total`` is a log-probability.

    A row of only -inf returns the smallest finite number, so that its log-probabilities are -inf instead of NaN. On a
    CPU, rows are processed in blocks, because temporaries of the full size double the time; and first without
    subtracting the largest logit, which takes half of the time and is needed only if exponentials overflow.
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
    """Return the ``count`` largest of logits (R, V) and their tokens, each (R, count), largest first.

    A large vocabulary is folded to (8, V / 8): the columns with the largest maxima are selected first, then the best
    tokens in these columns. This is exact, because ``count`` columns contain the ``count`` best tokens.
    """
    width = logits.shape[1] // _COLUMN
    if logits.device.type != "cpu" or logits.shape[1] < _SMALL or count * _COLUMN > width:
        values, tokens = logits.topk(count, dim=1)
        return values, tokens
    folded = logits[:, : width * _COLUMN].view(-1, _COLUMN, width)  # (R, 8, V / 8)
    columns = folded.amax(1).topk(count, dim=1).indices
    steps = torch.arange(_COLUMN)[:, None] * width
    rest = torch.arange(width * _COLUMN, logits.shape[1]).expand(len(logits), -1)
    tokens = torch.cat([(columns[:, None, :] + steps).flatten(1), rest], dim=1)
    values, best = logits.gather(1, tokens).topk(count, dim=1)
    return values, tokens.gather(1, best)

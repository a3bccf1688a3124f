"""Recall at k and ranks for image-text retrieval, from similarities that may be computed in chunks.

Definitions: Karpathy and Fei-Fei 2015, Faghri et al. 2018 (VSE++): a query is a hit at k if *any* of its relevant items
is among the k most similar. COCO "1K" is the mean over five consecutive folds of 1,000 images, "5K" uses all; report
which of them, and the number of captions (25,000 at five per image, 25,010 with all).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from velm_lightning.metrics._ngrams import Ints
from velm_lightning.types import InputError


def best_ranks(similarity: ArrayLike, relevant: ArrayLike) -> Ints:
    """Return for each query the rank of its most similar relevant item, 0 for the best; ties count against it.

    An item of equal similarity is ranked before the relevant one, so that a model with constant similarities gets the
    worst ranks. For a large matrix, call this for chunks of queries and concatenate the results.

    Args:
        similarity: (Q, C) similarities of Q queries to all C items, higher is closer.
        relevant: (Q, C) bool, True if the item is relevant to the query.

    Returns:
        (Q,) ranks from 0 to C - 1.

    Raises:
        InputError: If the shapes differ, a similarity is NaN, or a query has no relevant item.
    """
    scores, answers = np.asarray(similarity, dtype=np.float64), np.asarray(relevant, dtype=np.bool_)
    if scores.ndim != 2 or scores.shape != answers.shape:
        raise InputError(f"similarity {scores.shape} and relevant {answers.shape}: expected the same (queries, items)")
    if np.isnan(scores).any():
        raise InputError(f"similarity: not a number for query {int(np.isnan(scores).any(1).argmax())}, expected finite")
    if not answers.any(1).all():
        raise InputError(f"relevant: query {int(np.argmin(answers.any(1)))} has no relevant item; leave it out")
    best = np.where(answers, scores, -np.inf).max(1, keepdims=True)  # (Q, 1)
    return np.asarray(((scores >= best) & ~answers).sum(1), dtype=np.int64)


def recall_at(ranks: ArrayLike, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Return R@k from 0 to 1 for each k, and the median rank, counted from 1.

    Args:
        ranks: (Q,) ranks from 0, as `best_ranks` gives them.
        ks: the cut-offs.

    Raises:
        InputError: If there are no queries, or a k is below 1.
    """
    values = np.asarray(ranks)
    if values.size == 0:
        raise InputError("no queries to rank: the split is empty")
    if min(ks) < 1:
        raise InputError(f"ks: {min(ks)} is below 1, the smallest cut-off")
    return {f"R@{k}": float(np.mean(values < k)) for k in ks} | {"median rank": float(np.median(values)) + 1}


def recall_of_folds(ranks: Sequence[ArrayLike], ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Return the mean of `recall_at` over folds, as COCO 1K is reported; each fold is ranked among its own items."""
    figures: list[Mapping[str, float]] = [recall_at(fold, ks) for fold in ranks]
    if not figures:
        raise InputError("no folds to average")
    return {name: float(np.mean([figure[name] for figure in figures])) for name in figures[0]}


def relevance(query_groups: Sequence[object], item_groups: Sequence[object]) -> NDArray[np.bool_]:
    """Return (Q, C) bool: an item is relevant to a query if both have the same group, usually the name of the image."""
    numbers: dict[object, int] = {}
    queries = np.array([numbers.setdefault(group, len(numbers)) for group in query_groups], dtype=np.int64)
    items = np.array([numbers.setdefault(group, len(numbers)) for group in item_groups], dtype=np.int64)
    return np.asarray(queries[:, None] == items[None, :])

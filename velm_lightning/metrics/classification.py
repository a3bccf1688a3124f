"""Accuracy and macro-F1 of predicted labels, given as strings, as evaluation writes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from velm_lightning.types import InputError


def accuracy(predictions: Sequence[str], labels: Sequence[str]) -> float:
    """Return the share of the N rows whose predicted label is the true one, from 0 to 1.

    Raises:
        InputError: the lengths differ or there are no rows.
    """
    _check(predictions, labels)
    return sum(p == t for p, t in zip(predictions, labels, strict=True)) / len(labels)


def macro_f1(predictions: Sequence[str], labels: Sequence[str]) -> float:
    """Return the unweighted mean of F1 over classes, from 0 to 1; rare classes count as much as frequent ones.

    The classes are those that occur among labels or predictions; a class without a correct prediction has F1 0
    (scikit-learn's ``f1_score(average="macro", zero_division=0)``).

    Raises:
        InputError: the lengths differ or there are no rows.
    """
    return float(np.mean(list(f1_by_class(predictions, labels).values())))


def f1_by_class(predictions: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Return F1 = 2 TP / (2 TP + FP + FN) of each class that occurs, sorted by its name.

    Raises:
        InputError: the lengths differ or there are no rows.
    """
    _check(predictions, labels)
    classes = sorted({*predictions, *labels})
    index = {name: place for place, name in enumerate(classes)}
    predicted = np.array([index[name] for name in predictions])  # (N,)
    true = np.array([index[name] for name in labels])  # (N,)
    hits = _count(true[predicted == true], len(classes))
    f1 = 2 * hits / (_count(predicted, len(classes)) + _count(true, len(classes)))  # never 0 / 0: each class occurs
    return dict(zip(classes, f1.tolist(), strict=True))


def _count(index: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    return np.bincount(index, minlength=classes)


def _check(predictions: Sequence[str], labels: Sequence[str]) -> None:
    if len(predictions) != len(labels):
        raise InputError(f"{len(predictions)} predictions for {len(labels)} labels: give one prediction per label")
    if len(labels) == 0:
        raise InputError("no rows to score: the split is empty")

"""Accuracy and macro-F1 against values worked out by hand, and against scikit-learn if it is installed."""

import random

import pytest

from velm_lightning.metrics.classification import accuracy, f1_by_class, macro_f1
from velm_lightning.types import InputError


def test_hand_worked_rows():
    predictions = ["cat", "cat", "dog", "bird", "cat"]
    labels = ["cat", "dog", "dog", "fish", "cat"]
    assert accuracy(predictions, labels) == 0.6
    assert f1_by_class(predictions, labels) == pytest.approx({"bird": 0, "cat": 4 / 5, "dog": 2 / 3, "fish": 0})
    assert macro_f1(predictions, labels) == pytest.approx((4 / 5 + 2 / 3) / 4)


def test_all_right_and_all_wrong():
    assert accuracy(["a", "b"], ["a", "b"]) == macro_f1(["a", "b"], ["a", "b"]) == 1
    assert accuracy(["b", "a"], ["a", "b"]) == macro_f1(["b", "a"], ["a", "b"]) == 0


def test_random_rows_equal_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(0)
    for classes in (2, 3, 20):
        names = [f"class {i}" for i in range(classes)]
        labels, predictions = rng.choices(names, k=200), rng.choices(names, k=200)
        assert accuracy(predictions, labels) == metrics.accuracy_score(labels, predictions)
        expected = metrics.f1_score(labels, predictions, average="macro", zero_division=0)
        assert macro_f1(predictions, labels) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("score", [accuracy, macro_f1])
def test_rows_that_do_not_pair_are_refused(score):
    with pytest.raises(InputError, match="2 predictions for 1 labels"):
        score(["a", "b"], ["a"])
    with pytest.raises(InputError, match="the split is empty"):
        score([], [])

"""With data.balance, answers have the requested frequencies, also if samples have several weighted answers."""

from collections import Counter

import pytest
import torch
from helpers import tiny

from velm_lightning.data import MultimodalData
from velm_lightning.data.balance import balance
from velm_lightning.types import InputError

HARD = [[(0, 1.0)]] * 5 + [[(1, 1.0)]] * 3 + [[(2, 1.0)]]
SOFT = [[(0, 1.0)]] * 5 + [[(0, 1.0), (1, 0.3)]] * 3 + [[(1, 1.0)]] + [[(1, 0.3), (2, 0.9)]] * 2 + [[(2, 0.6)]]


def drawn(answers, weights):
    """The share of draws of each answer; a sample counts for each of its answers by its normalised weight."""
    total = Counter()
    for given, weight in zip(answers, weights, strict=True):
        for index, share in given:
            total[index] += float(weight) * share / sum(other_weight for _, other_weight in given)
    return [total[index] / total.total() for index in sorted(total)]


def test_hard_answers_are_weighted_by_their_inverse_frequency():
    for exponent in (0.5, 1.0):
        expected = [5**-exponent] * 5 + [3**-exponent] * 3 + [1.0]
        assert balance(HARD, exponent).weights.tolist() == pytest.approx(expected)


def test_soft_answers_are_drawn_equally_often():
    solution = balance(SOFT, 1.0)
    assert drawn(SOFT, solution.weights) == pytest.approx([1 / 3] * 3, abs=1e-6)
    assert solution.solved


def test_an_exponent_between_0_and_1_lies_between():
    counts = [share * len(SOFT) for share in drawn(SOFT, [1.0] * len(SOFT))]
    roots = [count**0.5 for count in counts]
    expected = [root / sum(roots) for root in roots]
    assert drawn(SOFT, balance(SOFT, 0.5).weights) == pytest.approx(expected, abs=1e-6)


def test_counted_draws_of_an_order_agree_with_the_expectation():
    words = ("no", "red", "yes")
    samples = [
        sample._replace(target={words[index]: weight for index, weight in given})
        for sample, given in zip(tiny.many(len(SOFT)), SOFT, strict=True)
    ]
    data = MultimodalData(tiny.Samples(train=samples), batch_size=4, balance=1.0)
    data.connect(tiny.fusion(vocabulary=data.vocabulary))
    order, draws = data.train_order(), Counter()
    for epoch in range(2000):
        order.set_epoch(epoch)
        draws.update(index for _, index in order)
    assert drawn(SOFT, [draws[index] for index in range(len(SOFT))]) == pytest.approx([1 / 3] * 3, abs=0.01)


def test_what_cannot_be_met_is_brought_close_and_stated():
    solution = balance([[(0, 1.0)]] * 3 + [[(0, 0.6), (1, 0.3)]], 1.0)
    assert not solution.solved
    assert (solution.least, solution.most) == pytest.approx((2 / 3, 4 / 3), abs=1e-3), (
        "answer 1 is a third of one sample"
    )
    assert "drawn 0.67 to 1.33 times as often as requested, and the 4 samples count as 1" in solution.describe(1.0)


def test_samples_without_answers_are_drawn_like_frequent_ones():
    assert balance([[], *HARD], 1.0).weights[0] == pytest.approx(1 / 5)


def test_data_without_answers_are_refused():
    with pytest.raises(InputError, match=r"data\.balance=1 needs answers, and no training sample has a known one"):
        balance([[], []], 1.0)


def test_soft_answer_weights_do_not_depend_on_their_scale():
    halved = [[(index, weight / 2) for index, weight in given] for given in SOFT]
    assert torch.allclose(balance(halved, 1.0).weights, balance(SOFT, 1.0).weights)

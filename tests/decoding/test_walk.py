"""Greedy decoding and sampling: exact probabilities, removal of finished rows, reproducible draws."""

import math

import pytest
import torch
from helpers.table_model import END, Tables, log_probability

from velm_lightning.decoding import Greedy, Sampling
from velm_lightning.decoding._top import log_total, top_k
from velm_lightning.types import InputError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_greedy_takes_the_most_probable_token():
    tables = Tables(samples=5, words=6)
    results = Greedy(max_length=6)(Tables(samples=5, words=6), END)
    for sample, (row,) in enumerate(results):
        ids = [*row.ids, END] if len(row.ids) < 6 else row.ids
        assert ids == [int(tables.logits(sample, ids[:place]).argmax()) for place in range(len(ids))]
        assert row.log_probability == pytest.approx(log_probability(tables, sample, ids), abs=1e-5)
        assert row.score == pytest.approx(row.log_probability / len(ids))


def test_batched_equals_one_by_one():
    tables, greedy = Tables(samples=6, words=6, seed=3), Greedy(max_length=8)
    assert greedy(tables, END) == [greedy(tables.only(sample), END)[0] for sample in range(6)]


@pytest.mark.parametrize(("decoding", "rows"), [(Greedy(), 1), (Sampling(3), 3)])
def test_finished_samples_leave_the_model(decoding, rows):
    tables = Tables(samples=4, words=5, places=10)
    for sample in range(4):
        tables.table[sample, :, :, :, END] = -30.0
        tables.table[sample, sample, :, :, END] = 30.0
    results = decoding(tables, END)
    assert [[len(row.ids) for row in of_sample] for of_sample in results] == [[n] * rows for n in range(4)]
    assert tables.rows_seen == [3 * rows, 2 * rows, rows]


def test_length_limits_hold():
    for decoding in (Greedy(max_length=4, min_length=2), Sampling(20, max_length=4, min_length=2)):
        lengths = {len(row.ids) for rows in decoding(Tables(), END) for row in rows}
        assert lengths <= {2, 3, 4}
    never_ending = Tables()
    never_ending.table[..., END] = -math.inf
    assert [len(rows[0].ids) for rows in Greedy(max_length=4)(never_ending, END)] == [4] * 3


@pytest.mark.parametrize("decoding", [Greedy(), Sampling(2), Sampling(top_k=2), Sampling(top_p=0.5)])
def test_impossible_samples_score_minus_infinity(decoding):
    tables = Tables()
    tables.table[0] = -math.inf
    results = decoding(tables, END)
    assert results[0] == [([], -math.inf, -math.inf)]
    assert all(math.isfinite(row.score) for rows in results[1:] for row in rows)


def test_draws_are_reproducible():
    def draw(seed):
        return Sampling(5, max_length=8)(Tables(words=8), END, generator=generator(seed))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_samples_are_sorted_and_keep_the_models_probabilities():
    tables = Tables(samples=1)
    (rows,) = Sampling(10, temperature=3.0, top_k=3, max_length=5)(Tables(samples=1), END)
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    for row in rows:
        ids = [*row.ids, END] if len(row.ids) < 5 else row.ids
        assert row.log_probability == pytest.approx(log_probability(tables, 0, ids), abs=1e-5)


def expected(logits, temperature, k, p):
    """Probabilities by the definition, one token at a time."""
    probability = (logits.double() / temperature).softmax(0)
    ranked = probability.argsort(descending=True).tolist()[: k or None]
    nucleus, total, mass = [], 0.0, float(sum(probability[word] for word in ranked))
    for word in ranked:
        if total / mass < p:
            nucleus.append(word)
        total += float(probability[word])
    out = torch.zeros_like(probability)
    out[nucleus] = probability[nucleus] / probability[nucleus].sum()
    return out


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
@pytest.mark.parametrize(("k", "p"), [(0, 1.0), (3, 1.0), (0, 0.8), (4, 0.7), (0, 0.01), (20, 0.999)])
def test_frequencies_are_the_probabilities(temperature, k, p):
    draws, tables = 5_000, Tables(samples=1, words=8, places=1, scale=1.0)
    sampling = Sampling(draws, temperature, k, p, max_length=1)
    (rows,) = sampling(tables, END, generator=generator())
    words = torch.tensor([row.ids[0] if row.ids else END for row in rows])
    counts = torch.bincount(words, minlength=8).double()
    wanted = draws * expected(tables.logits(0, []), temperature, k, p)
    assert not counts[wanted == 0].any()
    chi_square = ((counts - wanted) ** 2 / wanted)[wanted > 0].sum()
    assert float(chi_square) < 24.3  # 99.9 % of 7 degrees of freedom


def test_a_nucleus_may_exceed_the_shortlist():
    logits = 0.1 * torch.randn(4, 1000, generator=generator())
    drawn = torch.stack([Sampling(top_p=0.6).choose(logits, generator(seed)) for seed in range(200)])
    ranks = logits.argsort(1, descending=True).argsort(1)
    outside = expected(logits[0], 1.0, 0, 0.6) == 0
    assert not outside[drawn[:, 0]].any()
    assert int(ranks.gather(1, drawn.T).max()) > 400


@pytest.mark.parametrize("words", [5, 2047, 2048, 20_003])
@pytest.mark.parametrize("count", [1, 3])
def test_top_k_and_log_total_are_exact(words, count):
    logits = torch.randn(50, words)
    logits[:, 1::3] = -math.inf
    values, places = top_k(logits, count)
    assert torch.equal(values, logits.topk(count, 1).values)
    assert torch.equal(logits.gather(1, places), values)
    assert torch.allclose(log_total(logits), logits.logsumexp(1))


@pytest.mark.parametrize("shift", [[0.0, 0.0], [0.0, 500.0], [-500.0, 0.0]])
def test_log_total_is_exact_if_exponentials_overflow(shift):
    logits = torch.randn(2, 300, generator=generator()) + torch.tensor(shift)[:, None]
    torch.testing.assert_close(log_total(logits), logits.double().logsumexp(1).float())


def test_log_total_of_minus_infinities_is_finite():
    assert torch.isfinite(log_total(torch.full((1, 300), -math.inf))).all()


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"count": 0}])
def test_wrong_options_are_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Sampling(**wrong)

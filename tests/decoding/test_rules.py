"""Banned tokens and repeated n-grams are excluded in every search."""

import math

import pytest
from helpers.table_model import END, Tables, exhaustive

from velm_lightning.decoding import BeamSearch, Greedy, Sampling
from velm_lightning.types import InputError

SEARCHES = [
    Greedy(max_length=6),
    BeamSearch(3, max_length=6),
    BeamSearch(3, 0.0, True, max_length=6),
    Sampling(8, max_length=6),
    Sampling(8, top_k=2, max_length=6),
]


def changed(search, **options):
    return type(search)(**search._init_args | options)


def repeats(words, size):
    runs = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return len(runs) > len(set(runs))


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_ngrams_do_not_repeat(search, size):
    def generated(**options):
        tables = Tables(samples=8, words=4, places=12, seed=4)
        tables.table[..., END] -= 4
        return changed(search, max_length=12, **options)(tables, END)

    assert any(repeats(row.ids, size) for rows in generated() for row in rows)
    assert not any(repeats(row.ids, size) for rows in generated(no_repeat_ngram=size) for row in rows)


@pytest.mark.parametrize("size", [1, 2])
def test_wide_beams_equal_exhaustive_search_with_no_repeat(size):
    tables = Tables(words=4)
    results = BeamSearch(81, max_length=4, no_repeat_ngram=size)(Tables(words=4), END)
    for sample, rows in enumerate(results):
        best = exhaustive(tables, sample, 4, 1.0, lambda ids: not repeats([i for i in ids if i != END], size))[:81]
        assert [row.ids for row in rows] == [row[0] for row in best]
        assert [row.score for row in rows] == pytest.approx([row[1] for row in best], abs=1e-5)


@pytest.mark.parametrize("search", SEARCHES)
def test_banned_tokens_are_not_generated(search):
    results = search(Tables(words=5), END, banned=(1, 3))
    assert all(not {1, 3} & set(row.ids) for rows in results for row in rows)
    assert all(math.isfinite(row.score) for rows in results for row in rows)


def test_tokens_outside_of_the_vocabulary_are_refused():
    with pytest.raises(InputError, match=r"banned must name tokens .* from 0 to 3, got 9"):
        Greedy()(Tables(), END, banned=[9])
    with pytest.raises(InputError, match="end must name tokens .* got 7"):
        Greedy()(Tables(), 7)

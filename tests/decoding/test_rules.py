"""Forbidden words, repeated runs and closed sets of sentences hold in every search."""

import math

import pytest
from helpers.table_model import END, Tables, exhaustive

from velm_lightning.decoding import BeamSearch, Greedy, PrefixTrie, Sampling
from velm_lightning.types import InputError

SEARCHES = [
    Greedy(max_length=6),
    BeamSearch(3, max_length=6),
    BeamSearch(3, 0.0, True, keep_greedy=True, max_length=6),
    Sampling(8, max_length=6),
    Sampling(8, top_k=2, max_length=6),
]
ANSWERS = [[1, 2], [1, 2, 3], [4], [2, 2, 2, 2], []]


def changed(search, **options):
    return type(search)(**search._init_args | options)


def repeats(words, size):
    runs = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return len(runs) > len(set(runs))


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_runs_do_not_repeat(search, size):
    def found(**options):
        tables = Tables(samples=8, words=4, places=12, seed=4)
        tables.table[..., END] -= 4
        return changed(search, max_length=12, **options)(tables, END)

    assert any(repeats(row.ids, size) for rows in found() for row in rows)
    assert not any(repeats(row.ids, size) for rows in found(no_repeat_ngram=size) for row in rows)


@pytest.mark.parametrize("size", [1, 2])
def test_wide_beams_find_all_that_does_not_repeat(size):
    tables = Tables(words=4)
    found = BeamSearch(81, max_length=4, no_repeat_ngram=size)(Tables(words=4), END)
    for sample, rows in enumerate(found):
        best = exhaustive(tables, sample, 4, 1.0, lambda said: not repeats([w for w in said if w != END], size))[:81]
        assert [row.ids for row in rows] == [row[0] for row in best]
        assert [row.score for row in rows] == pytest.approx([row[1] for row in best], abs=1e-5)


@pytest.mark.parametrize("search", SEARCHES)
def test_banned_words_are_not_said(search):
    found = search(Tables(words=5), END, banned=(1, 3))
    assert all(not {1, 3} & set(row.ids) for rows in found for row in rows)
    assert all(math.isfinite(row.score) for rows in found for row in rows)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("seed", range(3))
def test_only_allowed_sentences_are_said(search, seed):
    found = search(Tables(words=5, seed=seed), END, allowed=PrefixTrie(ANSWERS, END))
    assert all(row.ids in ANSWERS and math.isfinite(row.score) for rows in found for row in rows)


def test_beams_rank_all_allowed_sentences():
    tables, trie = Tables(words=5), PrefixTrie(ANSWERS, END)
    for sample, rows in enumerate(BeamSearch(5, max_length=5)(Tables(words=5), END, allowed=trie)):
        best = exhaustive(tables, sample, 5, 1.0, lambda said: said[-1] == END and said[:-1] in ANSWERS)
        assert [row.ids for row in rows] == [row[0] for row in best]
        assert [row.score for row in rows] == pytest.approx([row[1] for row in best], abs=1e-5)


def test_each_sample_can_have_its_own_words():
    asked = []

    def allowed(sample, words):
        asked.append((sample, tuple(words)))
        return [END] if len(words) == sample else [sample + 1]

    for search in SEARCHES:
        for sample, rows in enumerate(search(Tables(words=5), END, allowed=allowed)):
            assert [row.ids for row in rows] == [[sample + 1] * sample] * (8 if isinstance(search, Sampling) else 1)
    assert all(words == (sample + 1,) * len(words) for sample, words in asked)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_dead_end_is_told_by_the_score(search):
    found = search(
        Tables(words=5), END, allowed=lambda sample, words: [2] if not words and sample != 1 else [END][:sample]
    )
    assert found[1][0].ids == []
    assert found[0] == [([], -math.inf, -math.inf)]
    assert found[2][0].ids == [2]


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(InputError, match=r"max_length=4 .* at least 5"):
        Greedy(max_length=4)(Tables(words=5), END, allowed=PrefixTrie(ANSWERS, END))
    with pytest.raises(InputError, match=r"banned: 9 .* from 0 to 3"):
        Greedy()(Tables(), END, banned=[9])
    with pytest.raises(InputError, match="end: 7"):
        Greedy()(Tables(), 7)
    with pytest.raises(InputError, match="allowed: -2"):
        BeamSearch()(Tables(), END, allowed=lambda sample, words: [-2, 1])
    with pytest.raises(InputError, match="holds the end"):
        PrefixTrie([[1, END]], END)
    with pytest.raises(InputError, match="at least one"):
        PrefixTrie([], END)

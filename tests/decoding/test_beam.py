"""Beam search against exhaustive search, a plain implementation and its documented guarantees."""

import math

import pytest
from helpers.table_model import END, Tables, exhaustive, plain_beam

from velm_lightning.decoding import BeamSearch, Greedy
from velm_lightning.io.configurable import build, to_config
from velm_lightning.types import InputError

PENALTIES = (0.0, 0.7, 1.0, 2.0, -1.0)
STOPS = ("never", False, True)


def ids(results):
    return [[row.ids for row in rows] for rows in results]


def scores(results):
    return [row.score for rows in results for row in rows]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("penalty", PENALTIES)
def test_wide_beams_equal_exhaustive_search(seed, penalty):
    tables = Tables(words=4, seed=seed)
    results = BeamSearch(81, penalty, max_length=4)(Tables(words=4, seed=seed), END)
    for sample, rows in enumerate(results):
        best = exhaustive(tables, sample, 4, penalty)[:81]
        assert [row.ids for row in rows] == [row[0] for row in best]
        assert [row.score for row in rows] == pytest.approx([row[1] for row in best], abs=1e-5)
        assert [row.log_probability for row in rows] == pytest.approx([row[2] for row in best], abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("beams", [1, 2, 3, 5])
def test_early_stopping_never_changes_no_result(seed, penalty, beams):
    tables = Tables(words=6, places=7, seed=seed)
    results = BeamSearch(beams, penalty, max_length=7)(Tables(words=6, places=7, seed=seed), END)
    for sample, rows in enumerate(results):
        plain = plain_beam(tables, sample, beams, 7, penalty)
        assert [row.ids for row in rows] == [row[0] for row in plain]
        assert [row.score for row in rows] == pytest.approx([row[1] for row in plain], abs=1e-5)


def test_early_stopping_saves_steps():
    steps = {stop: Tables(samples=8, words=6, places=20, seed=1) for stop in STOPS}
    for stop, tables in steps.items():
        BeamSearch(3, 1.0, stop, max_length=20)(tables, END)
    never, estimate, at_once = (sum(tables.rows_seen) for tables in steps.values())
    assert at_once < estimate < never <= 19 * 24
    without_penalty = Tables(samples=8, words=6, places=20, seed=1)
    BeamSearch(3, 0.0, max_length=20)(without_penalty, END)
    assert sum(without_penalty.rows_seen) < never


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("penalty", "stop"), [(0.0, "never"), (1.0, False), (1.0, True)])
def test_one_beam_is_greedy(seed, penalty, stop):
    greedy = Greedy(max_length=6)(Tables(seed=seed), END)
    beam = BeamSearch(1, penalty, stop, max_length=6)(Tables(seed=seed), END)
    assert ids(beam) == ids(greedy)
    assert [rows[0].log_probability for rows in beam] == pytest.approx([rows[0].log_probability for rows in greedy])


def test_the_best_are_sorted_and_distinct():
    for rows in BeamSearch(6, max_length=6)(Tables(words=5), END):
        assert len(rows) == 6
        assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
        assert len({tuple(row.ids) for row in rows}) == 6


def test_fewer_hypotheses_if_fewer_exist():
    results = BeamSearch(20, max_length=2)(Tables(words=3), END)
    assert [len(rows) for rows in results] == [1 + 2 + 4] * 3


@pytest.mark.parametrize("stop", STOPS)
def test_batched_equals_one_by_one(stop):
    tables, beam = Tables(samples=6, words=6, seed=3), BeamSearch(3, 1.0, stop, max_length=8)
    single = [beam(tables.only(sample), END)[0] for sample in range(6)]
    batched = beam(tables, END)
    assert ids(batched) == ids(single)
    assert scores(batched) == pytest.approx(scores(single))


def test_finished_samples_leave_the_model():
    tables = Tables(samples=4, words=5, places=10)
    for sample in range(4):  # sample i generates i tokens and then the end
        tables.table[sample, :, :, :, END] = -30.0
        tables.table[sample, sample, :, :, END] = 30.0
    results = BeamSearch(2, 0.0, True, max_length=11)(tables, END)
    assert [len(rows[0].ids) for rows in results] == [0, 1, 2, 3]
    assert tables.rows_seen[:4] == [8, 6, 4, 2]


def test_length_limits_hold():
    for rows in BeamSearch(4, 0.0, max_length=5, min_length=3)(Tables(seed=2), END):
        assert all(3 <= len(row.ids) <= 5 for row in rows)
    never_ending = Tables(seed=2)
    never_ending.table[..., END] = -math.inf
    for rows in BeamSearch(4, max_length=5)(never_ending, END):
        assert [len(row.ids) for row in rows] == [5] * 4
        assert all(row.score == pytest.approx(row.log_probability / 5) for row in rows)


def test_impossible_tokens_are_never_generated():
    tables = Tables(words=5)
    tables.table[..., 2] = -math.inf
    for rows in BeamSearch(4, max_length=5)(tables, END):
        assert all(2 not in row.ids and math.isfinite(row.score) for row in rows)
    tables.table[:] = -math.inf
    tables.prefixes, tables.expanded, tables.rows_seen = [[0]], False, []
    assert BeamSearch(4)(tables, END) == [[([], -math.inf, -math.inf)]]


def test_beam_search_is_rebuilt_from_its_config():
    beam = build(to_config(BeamSearch(3, 0.6, early_stopping=False)))
    assert (beam.beams, beam.length_penalty, beam.early_stopping) == (3, 0.6, False)


@pytest.mark.parametrize("wrong", [{"beams": 0}, {"early_stopping": "ever"}, {"max_length": 0}, {"min_length": 40}])
def test_wrong_options_are_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        BeamSearch(**wrong)

"""Looking at results several times while seeds are added: the levels of the looks, and the claims from run folders."""

import numpy as np
import pytest
from helpers.run_folders import run

from velm_lightning.bench.sequential import LOOKS, sweeps
from velm_lightning.bench.simulation import Truth, exponential, normal, rates, same, two_modes
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.deciding.decisions import decided, decisions
from velm_lightning.compare.deciding.sequential import SPENT, Schedule, looked_p, schedule_for, shares
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.statistics import LEVEL, least_seeds
from velm_lightning.errors import InputError

# Levels


@pytest.mark.parametrize("looks", [[4], [4, 20], [6, 9, 13, 20], list(range(4, 12))])
def test_all_looks_together_spend_four_fifths_of_the_level(looks):
    assert sum(shares(looks)) == pytest.approx(SPENT)
    assert shares(looks) == pytest.approx(np.diff([0, *(SPENT * (seeds / looks[-1]) ** 2 for seeds in looks)]))


@pytest.mark.parametrize("methods", range(2, 11))
def test_the_first_look_has_one_seed_more_than_a_claim_needs(methods):
    assert schedule_for(methods, [0], 20, 4).looks[0] == least_seeds(methods) + 1


def test_looks_grow_from_the_seeds_of_the_file_to_the_budget():
    assert schedule_for(2, [3, 1, 7, 4, 5, 6], 16, 3) == ((3, 1, 7, 4, 5, 6, *range(8, 18)), (6, 10, 16))
    assert schedule_for(2, [0], 5, 8).looks == (4, 5), "there are no more numbers of seeds"


@pytest.mark.parametrize(
    ("most", "looks", "message"),
    [(3, 4, "--max-seeds must be at least 4"), (20, 0, "--looks must be 1 to 8"), (20, 9, "--looks must be 1 to 8")],
)
def test_numbers_out_of_range_are_refused(most, looks, message):
    with pytest.raises(InputError, match=message):
        schedule_for(2, [0], most, looks)


def test_p_is_the_smallest_of_the_looks_each_divided_by_its_share():
    assert looked_p([0.01, 0.2], [0.1, 0.5]) == pytest.approx(0.1)
    assert looked_p([0.01, 0.001], [0.1, 0.5]) == pytest.approx(0.002)
    assert looked_p([1.0], [0.1]) == 1


# Run folders

SCHEDULE = {"seeds": list(range(8)), "looks": [4, 8]}


def made(folder, seeds=8, late=0.9, record=SCHEDULE):
    for seed in range(seeds):
        run(folder, "LateFusion", seed, late, record={"looks": record})
        run(folder, "EarlyFusion", seed, 0.5, record={"looks": record})
    return folder


def pair_of(folder):
    (pair,) = compare(*read_runs([folder])).pairs
    return pair


def test_p_and_interval_of_runs_are_those_of_their_looks(tmp_path):
    fixed = [pair_of(made(tmp_path / f"{seeds}", seeds, 0.55, None)) for seeds in (4, 8)]
    looked = pair_of(made(tmp_path / "looked", 8, 0.55))
    expected = looked_p([pair.difference.p for pair in fixed], shares([4, 8]))
    assert looked.difference.p == pytest.approx(float(expected))
    assert looked.difference.level == pytest.approx(LEVEL * shares([4, 8])[1])
    assert looked.difference.interval.half > fixed[1].difference.interval.half


def test_a_claim_of_an_early_look_stays(tmp_path):
    early = pair_of(made(tmp_path / "early", 4))
    assert early.clear
    assert pair_of(made(tmp_path / "late")).p <= early.p


def test_runs_after_a_look_that_one_method_lacks_do_not_count(tmp_path):
    before = pair_of(made(tmp_path, 4, 0.55))
    for seed in range(4, 8):
        run(tmp_path, "LateFusion", seed, 0.99, record={"looks": SCHEDULE})
    assert pair_of(tmp_path).difference == before.difference


def test_a_look_of_the_other_sign_supports_no_claim(tmp_path):
    for seed in range(8):
        run(tmp_path, "LateFusion", seed, 0.8 if seed < 4 else 0.05, record={"looks": SCHEDULE})
        run(tmp_path, "EarlyFusion", seed, 0.5, record={"looks": SCHEDULE})
    assert not pair_of(tmp_path).clear


def test_two_sweeps_with_other_looks_allow_no_claim(tmp_path):
    for seed in range(8):
        run(tmp_path, "LateFusion", seed, 0.9, record={"looks": SCHEDULE})
        run(tmp_path, "EarlyFusion", seed, 0.2, record={"looks": SCHEDULE | {"looks": [5, 8]}})
    assert pair_of(tmp_path).p == 1


@pytest.mark.parametrize("entry", [3, {"seeds": [0]}, {"seeds": [0, 1], "looks": [2, 1]}, {"seeds": "a", "looks": [1]}])
def test_a_run_with_an_odd_schedule_is_left_out(tmp_path, entry):
    run(tmp_path, "LateFusion", 0)
    odd = run(tmp_path, "LateFusion", 1, record={"looks": entry})
    comparison = compare(*read_runs([tmp_path]))
    assert [(left.folder, "not a schedule" in left.why) for left in comparison.left] == [(odd, True)]


def test_a_schedule_is_read_from_the_record():
    assert Schedule.of({"looks": {"seeds": [5, 6], "looks": [2]}}) == ((5, 6), (2,))
    assert Schedule.of({}) is None


# Decisions


def test_pairs_without_a_decision_ask_for_seeds(tmp_path):
    for seed in range(5):
        for fusion, right in {"A": 0.9, "B": 0.5, "C": 0.5, "TextOnly": 0.3, "ImageOnly": 0.3}.items():
            run(tmp_path, fusion, seed, right, record={"looks": {"seeds": list(range(9)), "looks": [5, 9]}})
    undecided, sheet = decided([tmp_path])
    assert {folder.name[:2] for folder in undecided} == {"b-", "c-"}, "two controls need no seeds"
    words = {row[-1] for row in sheet.rows}
    assert "decided: A is better" in words
    assert any(each.startswith("open: no difference larger than 0.") for each in words)
    undecided, sheet = decided([tmp_path], rope=0.5)
    assert undecided == []
    assert any(row[-1].startswith("decided: no difference larger than 0.") for row in sheet.rows)


def test_the_bound_has_the_level_of_the_look_for_all_pairs(tmp_path):
    comparison = compare(*read_runs([made(tmp_path, 4, 0.55)]))
    (state,) = decisions(comparison)
    gap = state.pair.difference
    assert state.bound == pytest.approx(gap.interval.value + gap.interval.half), "one pair: its own interval"


# Simulated sweeps; all cells are in `velm bench statistics`


def test_a_large_gap_ends_a_sweep_at_its_first_look():
    truth = Truth([normal(1)] * 2, [20, 20], [60, 0])
    found = sweeps(truth, [4, 7, 12, 20], 100)
    assert (found.false, found.power, found.seeds) == (0, 1, 4)


@pytest.mark.slow
@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("methods", [2, 4, 5])
@pytest.mark.parametrize("draw", [two_modes(0.5), two_modes(0.4), normal(0), exponential], ids=["1:1", "2:3", "0", "e"])
def test_false_claims_stay_below_5_per_cent_over_all_looks(draw, methods, looks):
    for most in (10, 20):
        schedule = schedule_for(methods, [0], most, looks).looks
        assert sweeps(same(draw, methods, most, 0.5), schedule, 3_000).false <= 0.05


@pytest.mark.slow
def test_a_sweep_finds_what_a_fixed_number_finds_with_fewer_seeds():
    truth = Truth([normal(3)] * 2, [20, 20], [10, 0])
    found = sweeps(truth, [4, 7, 12, 20], 2_000)
    assert found.power >= rates(truth, 2_000).power - 0.02
    assert found.seeds < 10


@pytest.mark.slow
@pytest.mark.parametrize("methods", [2, 5])
def test_a_small_difference_is_stated_falsely_in_at_most_5_per_cent(methods):
    truth = Truth([normal(1)] * methods, [20] * methods, [3.0, *[0.0] * (methods - 1)], 0.3)
    assert sweeps(truth, [6, 9, 13, 20], 2_000, rope=3.0 - 1e-9).wrong <= 0.05

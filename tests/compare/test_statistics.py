"""Statistics against values by hand and by scipy, and on simulated comparisons with known differences."""

import numpy as np
import pytest
import yaml
from helpers.run_folders import ROOT
from scipy import optimize, stats

from velm_lightning.bench.simulation import Truth, exponential, normal, rates, same, two_modes
from velm_lightning.bench.statistics import TABLES
from velm_lightning.compare.budgets import expected_best, pareto
from velm_lightning.compare.measures import Measured
from velm_lightning.compare.statistics import (
    Table,
    difference,
    family_p,
    holm,
    image_interval,
    least_seeds,
    seed_interval,
    seeds_needed,
)
from velm_lightning.compare.student import joint_p, t_p, t_quantile

A, B = [0.75, 0.70, 0.80], [0.70, 0.60, 0.65]  # three seeds each: differences 0.05, 0.10, 0.15
IMAGE_EFFECT = [0.3, -0.1, -0.1, -0.1]  # of four images, on the difference


def table(a=A, b=B, effect=IMAGE_EFFECT):
    """Compare runs of A with runs of B; images affect the runs of A only, all equally."""
    influence = np.array([effect] * len(a) + [[0.0] * len(effect)] * len(b))
    return Table(np.array([*a, *b]), influence)


def compared(paired=True, **words):
    made = table(**words)
    arm = len(words.get("a", A))
    return difference(made, range(arm), range(arm, len(made.values)), paired)


# Student's t


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 10, 100, 1e4])
def test_student_t_is_scipys(freedom):
    for t in (0.0, 0.5, 2.0, -3.0, 6.0):
        assert t_p(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=1e-7)
    for q in (0.5, 0.9, 0.975, 0.99995):
        assert t_quantile(q, freedom) == pytest.approx(stats.t.ppf(q, freedom), rel=1e-5, abs=1e-6)


def test_the_interval_over_seeds_is_scipys():
    values = [0.71, 0.74, 0.70, 0.77]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert seed_interval(values) == pytest.approx((np.mean(values), low, high), rel=1e-4)


def test_one_seed_has_no_interval():
    assert seed_interval([0.7]) == (0.7, -np.inf, np.inf)


def test_equal_seeds_have_an_interval_of_no_width():
    assert seed_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


# The interval of a difference


def test_the_interval_combines_seeds_and_images():
    over_seeds = stats.t.ppf(0.975, 2) * np.std([0.05, 0.10, 0.15], ddof=1) / np.sqrt(3)
    over_images = stats.t.ppf(0.975, 3) * np.std(IMAGE_EFFECT, ddof=1) / np.sqrt(4)
    gap = compared()
    assert gap.interval.value == pytest.approx(0.1)
    assert gap.interval.half == pytest.approx(np.hypot(over_seeds, over_images), rel=1e-5)


def test_independent_arms_count_the_seeds_of_the_smaller_one():
    gap = compared(paired=False, b=[0.70, 0.60, 0.65, 0.61])
    error = np.sqrt(np.var(A, ddof=1) / 3 + np.var([0.70, 0.60, 0.65, 0.61], ddof=1) / 4)
    over_images = stats.t.ppf(0.975, 3) * np.std(IMAGE_EFFECT, ddof=1) / np.sqrt(4)
    assert gap.interval.half == pytest.approx(np.hypot(stats.t.ppf(0.975, 2) * error, over_images), rel=1e-5)
    assert (gap.seeds, gap.paired) == (3, False)


def test_equal_seeds_leave_the_interval_over_images():
    gap = compared(a=[0.80, 0.80, 0.80], b=[0.70, 0.70, 0.70])
    assert gap.interval.half == pytest.approx(stats.t.ppf(0.975, 3) * np.std(IMAGE_EFFECT, ddof=1) / 2, rel=1e-5)


def test_equal_images_leave_the_interval_over_seeds():
    gap = compared(effect=[0.0] * 4)
    low, high = stats.t.interval(0.95, 2, 0.1, stats.sem([0.05, 0.10, 0.15]))
    assert gap.interval == pytest.approx((0.1, low, high), rel=1e-5)
    assert gap.p == pytest.approx(stats.ttest_1samp([0.05, 0.10, 0.15], 0).pvalue, rel=1e-4)


def test_p_is_the_level_at_which_the_interval_touches_zero():
    first, second, value = 0.0008, 0.0003, 0.13

    def above(level):
        return stats.t.isf(level / 2, 4) ** 2 * first + stats.t.isf(level / 2, 39) ** 2 * second - value**2

    assert joint_p(value, first, 4, second, 39) == pytest.approx(optimize.brentq(above, 1e-9, 1), rel=1e-4)


def test_p_is_below_5_per_cent_if_the_interval_excludes_zero():
    rng = np.random.default_rng(0)
    gaps = [compared(a=0.75 + rng.normal(0, 0.03, 3), effect=rng.normal(0, 0.02, 4)) for _ in range(60)]
    excluded = [abs(gap.interval.value) > gap.interval.half for gap in gaps]
    assert [gap.p < 0.05 for gap in gaps] == excluded
    assert 0 < sum(excluded) < 60


def test_one_seed_is_judged_over_images_only():
    gap = compared(a=[0.75], b=[0.70])
    assert gap.seeds == 1
    assert gap.interval.half == pytest.approx(stats.t.ppf(0.975, 3) * np.std(IMAGE_EFFECT, ddof=1) / 2, rel=1e-5)


def test_one_image_allows_no_interval():
    gap = compared(effect=[0.0])
    assert (gap.interval.half, gap.p) == (np.inf, 1.0)


def test_runs_that_agree_everywhere_do_not_differ():
    gap = compared(a=[1.0, 1.0], b=[1.0, 1.0], effect=[0.0] * 4)
    assert (gap.interval, gap.p) == ((1.0 - 1.0, 0.0, 0.0), 1.0)


def test_samples_of_one_image_count_as_one_observation():
    """With eight equal answers per image, the error is that of the 50 images, not of 400 samples."""
    scores = np.random.default_rng(2).normal(0.5, 0.3, 50)
    effects = np.repeat(scores - scores.mean(), 8) / 400
    by_image = Table.of([Measured(scores.mean(), effects)], np.repeat(np.arange(50), 8))
    assert image_interval(by_image, 0).half == pytest.approx(stats.t.ppf(0.975, 49) * stats.sem(scores), rel=1e-5)


# The family


def test_holm_multiplies_the_smallest_p_most_and_keeps_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([[0.5, 0.9], [0.01, 0.02]]).tolist() == [[1.0, 1.0], [0.02, 0.02]]
    assert holm([]).tolist() == []


def test_pairs_with_too_few_seeds_are_not_tested():
    assert family_p([0.01, 0.02, 0.001], [5, 5, 2], 3) == pytest.approx([0.02, 0.02, np.nan], nan_ok=True)


@pytest.mark.parametrize(("methods", "seeds"), [(2, 3), (3, 4), (4, 4), (5, 5), (8, 5), (9, 6), (10, 6)])
def test_a_claim_needs_seeds_by_the_number_of_methods(methods, seeds):
    assert least_seeds(methods) == seeds


def test_least_seeds_bounds_separation_by_chance():
    """Enumerates all outcomes: all runs of one method show heads, and all of another show tails."""
    heads = np.array(np.meshgrid(*[range(16)] * 4)).reshape(4, -1)  # four methods, four seeds: 16 outcomes each
    parted = (heads == 15).any(0) & (heads == 0).any(0)
    assert parted.mean() == pytest.approx(1 - 2 * (15 / 16) ** 4 + (14 / 16) ** 4)
    assert parted.mean() < 0.05


def test_shipped_sweeps_have_the_seeds_that_claims_need():
    for path in (ROOT / "sweeps").glob("*.yaml"):
        sweep = yaml.safe_load(path.read_text())
        if sweep["method"] == "grid":
            lists = {key: len(entry["values"]) for key, entry in sweep["parameters"].items() if "values" in entry}
            seeds = lists.pop("seed_everything")
            claims = "a description: claims need more" not in path.read_text()
            assert not claims or seeds >= max(5, least_seeds(int(np.prod(list(lists.values()))))), path


# How many seeds would decide


def needed(gap, tests=1, least=3):
    return seeds_needed(gap, tests, least)


def test_needed_seeds_are_the_first_with_a_power_of_80_per_cent():
    gap = compared(a=[0.75, 0.60, 0.80], effect=[0.004, -0.004, 0.002, -0.002])
    value, over_seeds = gap.interval.value, np.var([0.05, 0.0, 0.15], ddof=1)
    over_images = np.var([0.004, -0.004, 0.002, -0.002], ddof=1) / 4

    def decided(seeds):
        half = np.hypot(
            stats.t.ppf(0.995, seeds - 1) * np.sqrt(over_seeds / seeds), stats.t.ppf(0.995, 3) * np.sqrt(over_images)
        )
        return value > half + stats.norm.ppf(0.8) * np.sqrt(over_seeds / seeds + over_images)

    assert needed(gap, tests=5) == next(seeds for seeds in range(3, 99) if decided(seeds))


def test_needed_seeds_are_never_below_those_of_a_claim():
    assert needed(compared(a=[0.9, 0.9, 0.91], b=[0.5, 0.5, 0.5], effect=[0.0] * 4), least=5) == 5


def test_needed_seeds_above_fifty_are_not_counted():
    assert needed(compared(a=[0.75, 0.60, 0.61], effect=[0.0] * 4)) == 51


def test_seeds_cannot_compensate_for_too_few_images():
    assert needed(compared(effect=[3.0, -1.0, -1.0, -1.0])) == np.inf


def test_one_seed_does_not_show_how_many_are_needed():
    assert np.isnan(needed(compared(a=[0.75], b=[0.70])))


# Simulated comparisons; all cells are in `velm bench statistics`


def test_two_seeds_claim_nothing():
    assert rates(same(two_modes(0.5), 5, 2), 50).false == 0


def test_a_true_gap_is_found():
    assert rates(Truth([normal(1)] * 2, [5, 5], [10, 0]), 200).power > 0.95


CRITICAL = {
    "two modes, 2 methods, 3 seeds": same(two_modes(0.5), 2, 3, 0.5),
    "two modes, 4 methods, 4 seeds": same(two_modes(0.5), 4, 4, 0.5),
    "two modes, 8 methods, 5 seeds": same(two_modes(0.5), 8, 5, 0.5),
    "two modes, 2 methods, 8 seeds": same(two_modes(0.5), 2, 8, 0.5),
    "two modes 1:4, 5 methods, 5 seeds": same(two_modes(0.2), 5, 5, 0.5),
    "no seed variance, 2 methods, 8 seeds": same(normal(0), 2, 8),
    "much seed variance, 2 methods, 3 seeds": same(normal(10**0.5), 2, 3),
    "much seed variance, 5 methods, 5 seeds": same(normal(10**0.5), 5, 5),
    "skewed, unequal seeds": Truth([exponential] * 2, [3, 8], [0, 0], 0.5, paired=False),
    "two modes, unequal seeds": Truth([two_modes(0.5)] * 3, [4, 5, 8], [0, 0, 0], 0.5),
    "one method is ahead": Truth([two_modes(0.5)] * 5, [5] * 5, [10, 0, 0, 0, 0], 0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("truth", CRITICAL.values(), ids=CRITICAL)
def test_false_claims_and_misses_stay_within_bounds(truth):
    measured = rates(truth, 20_000)
    assert measured.false <= 0.055
    assert measured.covered >= 0.945


def test_the_page_shows_the_tables_that_the_command_prints():
    page = (ROOT / "docs" / "statistics.md").read_text()
    assert "velm bench statistics" in page
    for rows in TABLES.values():
        assert f"| {' | '.join(next(rows(1)))} |" in page


# Budgets and costs


def test_the_expected_best_of_k_is_the_mean_over_all_choices():
    values = [0.3, 0.1, 0.2]
    assert expected_best(values) == pytest.approx([0.2, (0.3 + 0.3 + 0.2) / 3, 0.3])


def test_the_pareto_front_omits_dominated_points():
    assert pareto([3, 1, 2, 2], [0.9, 0.5, 0.4, 0.7]) == [1, 3, 0]
    assert pareto([1, 1], [0.5, 0.5]) == [0]

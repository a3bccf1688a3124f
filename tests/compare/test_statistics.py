"""The statistics, against scipy and on simulated data whose truth is known.

The simulations draw 600 experiments; a rate of 5 % is then measured to within 2.7 points three times out of four
hundred (three standard errors of 0.9), and a test fails only outside of that.
"""

import numpy as np
import pytest
from scipy import stats

from velm_lightning.compare.statistics import (
    Table,
    difference,
    expected_best,
    holm,
    pareto,
    resampled_means,
    seed_interval,
    t_p,
    t_quantile,
)

EXPERIMENTS, IMAGES = 600, 60


def experiment(rng, seeds, gap=0.0, over_seeds=0.01, over_images=0.05, noise=0.35):
    """Scores of A's runs, then of B's, on images with one to six questions: seeds, images and chance each play in."""
    images = np.repeat(np.arange(IMAGES), rng.integers(1, 7, IMAGES))
    shared = rng.normal(0, 0.2, IMAGES)[images]  # how hard an image is for both
    runs = []
    for mean in (gap, 0.0):
        own = rng.normal(0, over_images / np.sqrt(2), IMAGES)[images]
        for _ in range(seeds):
            runs.append(mean + shared + own + rng.normal(0, over_seeds) + rng.normal(0, noise, len(images)))
    return Table.of(np.array(runs), images)


def differences(seeds, paired, count=EXPERIMENTS, **truth):
    rng = np.random.default_rng(0)
    for _ in range(count):
        table = experiment(rng, seeds, **truth)
        resampled = resampled_means(table, draws=300)
        yield difference(table, resampled, range(seeds), range(seeds, 2 * seeds), paired)


# Student's t


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 10, 100, 1e4])
def test_student_t_is_scipys(freedom):
    for t in (0.0, 0.5, 2.0, -3.0, 6.0):
        assert t_p(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=1e-6)
    for q in (0.5, 0.9, 0.975):
        assert t_quantile(q, freedom) == pytest.approx(stats.t.ppf(q, freedom), rel=1e-4, abs=1e-6)


def test_the_interval_over_seeds_is_scipys():
    values = [0.71, 0.74, 0.70, 0.77]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert seed_interval(values) == pytest.approx((np.mean(values), low, high), rel=1e-4)


def test_one_seed_has_no_interval():
    assert seed_interval([0.7]) == (0.7, -np.inf, np.inf)


def test_equal_seeds_have_an_interval_of_no_width():
    assert seed_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


# The bootstrap


def test_scores_are_summed_up_by_image():
    table = Table.of(np.array([[1.0, 2.0, 3.0], [0.0, 0.5, 1.0]]), np.array([0, 1, 0]))
    assert table.sums.tolist() == [[4.0, 2.0], [1.0, 0.5]]
    assert table.counts.tolist() == [2, 1]
    assert table.means.tolist() == [2.0, 0.5]


def test_the_bootstrap_of_single_images_is_scipys():
    scores = np.random.default_rng(1).normal(0.5, 0.3, (2, 80))
    table = Table.of(scores, np.arange(80))
    gap = resampled_means(table, draws=4000)
    ours = (gap[:, 0] - gap[:, 1]).std(ddof=1)
    theirs = stats.bootstrap((scores[0] - scores[1],), np.mean, n_resamples=4000, rng=0).standard_error
    assert ours == pytest.approx(theirs, rel=0.05)


def test_questions_about_one_image_are_drawn_together():
    """Eight equal answers to one picture are one piece of evidence: the error is that of 50 pictures, not of 400."""
    scores = np.random.default_rng(2).normal(0.5, 0.3, 50)
    by_image = Table.of(np.repeat(scores, 8)[None], np.repeat(np.arange(50), 8))
    error = resampled_means(by_image, draws=4000)[:, 0].std(ddof=1)
    assert error == pytest.approx(scores.std() / np.sqrt(50), rel=0.05)


def test_draws_that_do_not_fit_at_once_are_the_same_number(monkeypatch):
    table = Table.of(np.ones((1, 30)), np.arange(30))
    monkeypatch.setattr("velm_lightning.compare.statistics._CHUNK", 100)
    assert resampled_means(table, draws=7).tolist() == [[1.0]] * 7


# The paired test


@pytest.mark.parametrize(("seeds", "paired"), [(3, True), (5, True), (5, False), (3, False)])
def test_where_there_is_no_difference_one_in_twenty_is_found(seeds, paired):
    rate = np.mean([found.p < 0.05 for found in differences(seeds, paired)])
    assert 0.025 <= rate <= 0.077


@pytest.mark.parametrize("truth", [{"over_seeds": 0.05, "noise": 0.05}, {"over_seeds": 0.0, "over_images": 0.0}])
def test_neither_seeds_alone_nor_noise_alone_mislead_it(truth):
    rate = np.mean([found.p < 0.05 for found in differences(4, True, **truth)])
    assert 0.02 <= rate <= 0.077


def test_intervals_hold_the_true_difference_at_their_rate():
    kept = [found.interval.low <= 0.03 <= found.interval.high for found in differences(5, True, gap=0.03)]
    assert 0.923 <= np.mean(kept) <= 0.977


def test_a_clear_difference_is_found():
    assert np.mean([found.p < 0.05 for found in differences(5, True, count=100, gap=0.1)]) > 0.95


def test_one_seed_tells_of_other_images_only():
    (found,) = differences(1, True, count=1)
    assert found.seeds == 1
    assert np.isfinite(found.interval.half)


def test_runs_that_agree_everywhere_do_not_differ():
    table = Table.of(np.ones((4, 20)), np.arange(20))
    found = difference(table, resampled_means(table, draws=50), [0, 1], [2, 3], True)
    assert (found.interval, found.p) == ((0.0, 0.0, 0.0), 1.0)


# Several comparisons, budgets and costs


def test_holm_multiplies_the_smallest_most_and_never_turns_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_expected_best_of_k_is_the_mean_over_all_choices_of_k():
    values = [0.3, 0.1, 0.2]
    assert expected_best(values) == pytest.approx([0.2, (0.3 + 0.3 + 0.2) / 3, 0.3])


def test_the_pareto_front_leaves_out_what_costs_more_and_gives_no_more():
    assert pareto([3, 1, 2, 2], [0.9, 0.5, 0.4, 0.7]) == [1, 3, 0]
    assert pareto([1, 1], [0.5, 0.5]) == [0]

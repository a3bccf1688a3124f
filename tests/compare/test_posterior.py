"""The posterior of a difference: by hand, against the interval, in the tables, and calibrated in simulation."""

import numpy as np
import pytest
from helpers.run_folders import fusions, run
from scipy import stats

from velm_lightning.bench.posterior import calibration
from velm_lightning.cli.commands import main
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.deciding.posterior import posterior
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.runs import compare_runs
from velm_lightning.compare.statistics import Difference, Interval, Spread
from velm_lightning.compare.student import t_quantiles
from velm_lightning.compare.tables import sheets
from velm_lightning.errors import InputError


def gap(value=0.03, over_seeds=0.01**2, over_images=0.0, seeds=5, images=400, noise=0.0):
    spread = Spread(value, over_seeds, over_images, seeds, images)
    return Difference(Interval(value, 0, 0), 1.0, seeds, True, spread, noise)


@pytest.mark.parametrize("freedom", [1, 4, 30])
def test_quantiles_are_scipys(freedom):
    q = np.array([0.001, 0.2, 0.5, 0.8, 0.999])
    assert t_quantiles(q, freedom) == pytest.approx(stats.t.ppf(q, freedom), rel=1e-3, abs=1e-6)


def test_over_seeds_only_it_is_students_t():
    found = posterior(gap(), 0.01)
    assert found.better == pytest.approx(stats.t.sf((0.01 - 0.03) / 0.01, 4), abs=2e-3)
    assert found.worse == pytest.approx(stats.t.cdf((-0.01 - 0.03) / 0.01, 4), abs=2e-3)
    assert sum(found) == pytest.approx(1)


def test_over_images_only_it_is_students_t():
    assert posterior(gap(over_seeds=0.0, over_images=0.01**2), 0.0).better == pytest.approx(
        stats.t.cdf(3, 399), abs=1e-3
    )


def test_seeds_and_images_add_up():
    rng = np.random.default_rng(0)
    drawn = 0.03 + 0.01 * rng.standard_t(4, 400_000) + 0.02 * rng.standard_t(399, 400_000)
    assert posterior(gap(over_images=0.02**2), 0.01).better == pytest.approx((drawn > 0.01).mean(), abs=4e-3)


def test_noise_is_counted_once():
    assert posterior(gap(over_images=0.02**2, noise=0.02**2), 0.01) == posterior(gap(), 0.01)


def test_lower_values_may_be_better():
    assert posterior(gap(-0.03), 0.01, sign=-1)[::-1] == pytest.approx(posterior(gap(), 0.01)[::-1])


@pytest.mark.parametrize(("value", "verdict"), [(0.2, "better"), (0.0, "equal"), (-0.2, "worse"), (0.05, "open")])
def test_only_what_is_certain_is_named(value, verdict):
    assert posterior(gap(value), 0.05).verdict == verdict


def test_one_image_has_no_posterior():
    assert np.isnan(posterior(gap(images=1), 0.01)).all()


# Tables


def test_the_table_is_shown_on_request(tmp_path, capsys):
    fusions(tmp_path / "runs")
    assert main(["compare", str(tmp_path / "runs"), "--rope", "0.02"]) == 0
    assert "posterior of the differences of score" in (out := capsys.readouterr().out)
    assert "within ±0.02" in out
    assert main(["compare", str(tmp_path / "runs")]) == 0
    assert "posterior" not in capsys.readouterr().out


def test_python_takes_the_region_too(tmp_path):
    for seed in range(3):
        run(tmp_path, "LateFusion", seed, 0.9)
        run(tmp_path, "EarlyFusion", seed, 0.5)
    comparison = compare_runs([tmp_path], rope=0.01)
    (sheet,) = (sheet for sheet in sheets(comparison) if sheet.title.startswith("posterior"))
    assert sheet.rows[0][0:2] == ["LateFusion", "EarlyFusion"]
    assert sheet.rows[0][-1] == "A is better"


def test_few_seeds_name_nothing(tmp_path):
    for seed in range(2):
        run(tmp_path, "LateFusion", seed, 0.9)
        run(tmp_path, "EarlyFusion", seed, 0.5)
    (sheet,) = (sheet for sheet in sheets(compare_runs([tmp_path], rope=0.01)) if sheet.title.startswith("posterior"))
    assert sheet.rows[0][-1] == "too few seeds"


def test_a_negative_region_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match="--rope must be at least 0"):
        compare(*read_runs([tmp_path]), rope=-0.1)


# Simulation; all cells are in `velm bench statistics`


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(("over_seeds", "over_images"), [(2.0, 0.5), (1.0, 1.0), (0.3, 2.0)])
def test_probabilities_are_frequencies(seeds, over_seeds, over_images):
    """Where a posterior is certain, it is right as often as it says; over all pairs, the mean agrees."""
    bins = calibration(seeds, over_seeds, over_images, 4_000)
    assert bins[0].true <= 0.05
    assert bins[-1].true >= 0.95
    total = sum(each.number for each in bins)
    assert abs(sum((each.predicted - each.true) * each.number for each in bins)) / total <= 0.02

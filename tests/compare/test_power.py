"""How many seeds and images tell two methods apart, against simulated comparisons and values by hand."""

import numpy as np
import pytest
from helpers.run_folders import fusions, run
from scipy import stats

from velm_lightning.cli.commands import main
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.deciding.power import Components, plan, power
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.statistics import LEVEL, Table, difference, spread
from velm_lightning.compare.student import normal_cdf
from velm_lightning.compare.views.power_table import power_sheet

KINDS = {
    "seeds": Components(0.02**2, 0.0, 0.0),
    "images": Components(1e-12, 0.4**2, 0.0),
    "single answers": Components(0.0, 0.1**2, 0.4**2),
    "all": Components(0.012**2, 0.2**2, 0.35**2),
}


def drawn(parts, gap, seeds, images, count, seed=0):
    """Draw differences (count, S, C) of two methods by the model, and return them as spreads over both sources."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, parts.noise**0.5, (count, seeds, images))
    shift = rng.normal(gap, parts.seeds**0.5, (count, seeds, 1)) + rng.normal(0, parts.images**0.5, (count, 1, images))
    of_image = shift + noise
    means = of_image.mean(-1)
    return spread(means, np.zeros_like(means), (of_image - means[..., None]).mean(1), True)


def share_found(parts, gap, seeds, images, level=LEVEL, count=4000):
    """The share of simulated comparisons in which the interval excludes 0."""
    portions = [drawn(parts, gap, seeds, images, count // 20, seed) for seed in range(20)]
    return float(np.mean([np.abs(part.value) > part.half_width(level) for part in portions]))


def test_the_normal_distribution_is_scipys():
    z = np.array([-4.0, -1.0, 0.0, 0.5, 3.0])
    assert normal_cdf(z) == pytest.approx(stats.norm.cdf(z), abs=1e-6)


def test_power_over_seeds_only_is_that_of_the_t_test():
    """With no variance over images the rule is Student's test; its power is the noncentral t."""
    seeds, gap, spread_of_seeds = 4, 3.0, 1.0
    noncentral = stats.nct(seeds - 1, gap / (spread_of_seeds / np.sqrt(seeds)))
    threshold = stats.t.ppf(0.975, seeds - 1)
    exact = noncentral.sf(threshold) + noncentral.cdf(-threshold)
    assert power(Components(spread_of_seeds**2, 0.0, 0.0), gap, seeds, 1000) == pytest.approx(exact, abs=0.002)


def test_power_at_no_difference_is_at_most_the_level():
    assert all(power(parts, 0.0, 5, 300) <= LEVEL + 1e-4 for parts in KINDS.values())


def test_components_are_found_again():
    """Method of moments: the mean estimate over many drawn comparisons is the truth."""
    truth, seeds, images, rng = Components(0.1**2, 0.2**2, 0.35**2), 4, 60, np.random.default_rng(0)
    estimates = []
    for _ in range(800):
        of_image = rng.normal(0, truth.seeds**0.5, (seeds, 1)) + rng.normal(0, truth.images**0.5, (1, images))
        of_image = 3 + of_image + rng.normal(0, truth.noise**0.5, (seeds, images))
        means = of_image.mean(1)
        influence = of_image - means[:, None]
        table = Table(np.array([*means, *np.zeros(seeds)]), np.vstack([influence, np.zeros((seeds, images))]))
        estimates.append(Components.of(difference(table, range(seeds), range(seeds, 2 * seeds), True)))
    assert np.mean(estimates, 0) == pytest.approx(truth, rel=0.1)


def gap_of(seeds=3, right=(0.75, 0.6)):
    """The difference of two methods of run folders with seeds and shared images."""
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 0.3, 200)
    answers = [[mean + hard + rng.normal(0, 0.02) + rng.normal(0, 0.2, 200) for _ in range(seeds)] for mean in right]
    runs = np.array([*answers[0], *answers[1]])
    table = Table(runs.mean(1), runs - runs.mean(1, keepdims=True))
    return difference(table, range(seeds), range(seeds, 2 * seeds), True)


def test_numbers_of_a_plan_are_the_smallest_with_80_per_cent():
    gap = gap_of()
    parts, needs = Components.of(gap), plan(gap, 0.03, tests=1, least=3)
    assert power(parts, 0.03, int(needs.seeds), 200) >= 0.8 > power(parts, 0.03, int(needs.seeds) - 1, 200)
    assert power(parts, needs.detectable, 3, 200) == pytest.approx(0.8, abs=1e-3)
    seeds, images = map(int, needs.both)
    assert power(parts, 0.03, seeds, images) >= 0.8


def test_a_larger_family_needs_more():
    assert plan(gap_of(), 0.03, 10, 3).seeds > plan(gap_of(), 0.03, 1, 3).seeds


def test_one_seed_shows_no_numbers():
    needs = plan(gap_of(seeds=1), 0.03, 1, 3)
    assert np.isnan([needs.detectable, needs.seeds, needs.images, *needs.both]).all()


def test_images_do_not_compensate_for_too_few_seeds():
    needs = plan(gap_of(seeds=2), 0.03, 1, 3)
    assert np.isnan(needs.images)
    assert needs.seeds >= 3


def test_the_table_has_one_row_per_pair(tmp_path):
    comparison = compare(*read_runs([fusions(tmp_path, seeds=4)]))
    sheet = power_sheet(comparison)
    assert len(sheet.rows) == len(comparison.pairs) == 3
    assert sheet.rows[0][2] == "4 × 40"
    assert "a difference of 0.01 with" in sheet.caption


def test_the_command_prints_the_table(tmp_path, capsys):
    fusions(tmp_path, seeds=4)
    assert main(["power", str(tmp_path), "--gap", "0.05"]) == 0
    printed = capsys.readouterr().out
    assert "a difference of 0.05 with 80 % power" in " ".join(printed.split())
    assert main(["power", str(tmp_path), "--gap", "0"]) == 2


def test_one_method_has_nothing_to_be_told_apart_from(tmp_path, capsys):
    run(tmp_path)
    assert main(["power", str(tmp_path)]) == 2
    assert "at least two methods" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("seeds", "images"), [(3, 100), (5, 200), (10, 50)])
def test_computed_power_is_that_of_simulated_comparisons(kind, seeds, images):
    parts = KINDS[kind]
    error = np.sqrt(parts.seeds / seeds + parts.images / images + parts.noise / (seeds * images))
    for gap in (2 * error, 3.5 * error, 6 * error):
        assert share_found(parts, gap, seeds, images) == pytest.approx(power(parts, gap, seeds, images), abs=0.03)

"""Sweep files: W&B's format, every distribution of it, and refusals that name the key."""

import json
import math
import random
import statistics
import sys
from pathlib import Path

import pytest
import yaml
from helpers.command_line import ROOT, prepared

from velm_lightning.errors import InputError
from velm_lightning.sweep.show import drawn, rehearse
from velm_lightning.sweep.spec import read_spec

FILES = sorted((ROOT / "sweeps").glob("*.yaml"))


def spec(folder, parameters, **changes):
    whole = {"method": "random", "run_cap": 3, "parameters": parameters} | changes
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in whole.items() if value is not None}, sort_keys=False))
    return read_spec(path)


def draws(folder, count=400, **about):
    (one,) = spec(folder, {"x": about}).parameters
    rng = random.Random(0)
    return [drawn(one, rng) for _ in range(count)]


# Distributions


def test_a_choice_draws_its_values(tmp_path):
    assert set(draws(tmp_path, values=["a", 1, None])) == {"a", 1, None}
    assert set(draws(tmp_path, value=7)) == {7}


def test_probabilities_are_kept(tmp_path):
    found = draws(tmp_path, values=["a", "b"], probabilities=[0.9, 0.1])
    assert 0.85 < found.count("a") / len(found) < 0.95


def test_bounds_that_are_whole_numbers_give_whole_numbers(tmp_path):
    assert set(draws(tmp_path, min=1, max=3)) == {1, 2, 3}
    found = draws(tmp_path, min=0, max=0.5)
    assert all(isinstance(value, float) and 0 <= value <= 0.5 for value in found)
    assert 0.2 < statistics.mean(found) < 0.3


@pytest.mark.parametrize(
    ("about", "low", "high", "middle"),
    [
        ({"distribution": "log_uniform_values", "min": 0.0001, "max": 1.0}, 0.0001, 1, 0.01),
        ({"distribution": "log_uniform", "min": math.log(0.0001), "max": 0}, 0.0001, 1, 0.01),
        ({"distribution": "inv_log_uniform", "min": 0, "max": math.log(10000)}, 0.0001, 1, 0.01),
        ({"distribution": "inv_log_uniform_values", "min": 0.0001, "max": 1}, 0.0001, 1, 0.01),
        ({"distribution": "log_normal", "mu": math.log(0.01), "sigma": 1}, 0, 10, 0.01),
        ({"distribution": "normal", "mu": 5, "sigma": 2}, -10, 20, 5),
    ],
)
def test_the_median_and_the_ends_are_those_of_the_distribution(tmp_path, about, low, high, middle):
    found = draws(tmp_path, **about)
    assert low * 0.999 <= min(found) <= max(found) <= high * 1.001
    assert statistics.median(found) == pytest.approx(middle, rel=0.35)


@pytest.mark.parametrize(
    ("about", "step"),
    [
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, 0.25),
        ({"distribution": "q_log_uniform_values", "min": 8, "max": 512, "q": 8}, 8),
        ({"distribution": "q_normal", "mu": 0, "sigma": 3, "q": 0.5}, 0.5),
        ({"distribution": "q_uniform", "min": 0, "max": 9}, 1),
    ],
)
def test_rounded_distributions_give_multiples(tmp_path, about, step):
    found = set(draws(tmp_path, **about))
    assert len(found) > 3
    assert all(value / step == pytest.approx(round(value / step)) for value in found)
    assert all(isinstance(value, int) for value in found) == float(step).is_integer()


def test_nested_parameters_are_dotted(tmp_path):
    found = spec(
        tmp_path,
        {"model": {"parameters": {"dropout": {"values": [0, 1]}, "deep": {"parameters": {"a": {"value": 1}}}}}},
    )
    assert [one.key for one in found.parameters] == ["model.dropout", "model.deep.a"]


# Grids and budgets


def test_a_grid_is_every_combination_the_last_fastest(tmp_path):
    grid = {
        "a": {"values": [1, 2]},
        "b": {"min": 0, "max": 1},
        "c": {"distribution": "q_uniform", "min": 0, "max": 0.2, "q": 0.1},
    }
    points = list(spec(tmp_path, grid, method="grid", run_cap=None).points())
    assert len(points) == 2 * 2 * 3
    assert points[:4] == [
        {"a": 1, "b": 0, "c": 0},
        {"a": 1, "b": 0, "c": 0.1},
        {"a": 1, "b": 0, "c": 0.2},
        {"a": 1, "b": 1, "c": 0},
    ]
    assert len(list(spec(tmp_path, grid, method="grid", run_cap=5).points())) == 5


def test_every_model_gets_the_whole_budget(tmp_path):
    found = spec(tmp_path, {"model.class_path": {"values": ["Early", "x.Late"]}, "y": {"min": 0, "max": 9}}, run_cap=7)
    parts = found.split("model")
    assert [(one.name, one.cap) for one in parts] == [("sweep-early", 7), ("sweep-late", 7)]
    assert [one.parameters[0].grid() for one in parts] == [("Early",), ("x.Late",)]
    assert all(one.parameters[1] == found.parameters[1] for one in parts)
    with pytest.raises(InputError, match="--per y: name a parameter"):
        found.split("y")


def test_early_termination_by_first_or_by_last_iteration(tmp_path):
    words = {"x": {"value": 1}}
    assert spec(tmp_path, words, early_terminate={"type": "hyperband", "min_iter": 3}).early == (3, 3)
    found = spec(tmp_path, words, early_terminate={"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3})
    assert found.early == (3, 3)


# Commands


def test_macros_are_filled_in_as_wandb_does(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    command = [
        "${env}",
        "${interpreter}",
        "${program}",
        "${args}",
        "${args_no_hyphens}",
        "${args_json}",
        "${envvar:PLACE}",
    ]
    found = spec(tmp_path, {"a.b": {"value": 1}}, command=command, program="train.py")
    words = found.words({"a.b": 1}, Path("f.json"))
    assert words == [sys.executable, "-u", "train.py", "--a.b=1", "a.b=1", '{"a.b": 1}', "here"]


def test_velm_is_this_velm(tmp_path):
    found = spec(tmp_path, {"a": {"value": 1}}, command=["velm", "fit", "--config", "${args_json_file}"])
    assert found.words({}, Path("f.json")) == [sys.executable, "-m", "velm_lightning", "fit", "--config", "f.json"]


# Refusals


@pytest.mark.parametrize(
    ("parameters", "changes", "told"),
    [
        ({"x": {"min": "0.5", "max": 1}}, {}, r"parameters.x.min: YAML reads '0.5' as text: write it as 0.5"),
        ({"x": {"min": 2, "max": 1}}, {}, "parameters.x: min 2 and max 1 .* must be min <= max"),
        ({"x": {"min": 0, "max": 1, "distribution": "log_uniform_values"}}, {}, "must be 0 < min <= max"),
        ({"x": {"min": 0, "max": 1000, "distribution": "log_uniform"}}, {}, "1000 is an exponent of e"),
        ({"x": {"distribution": "gamma", "min": 0, "max": 1}}, {}, "distribution: 'gamma' is not one of"),
        ({"x": {"values": [1, 2], "probabilities": [0.5, 0.6]}}, {}, "one a value and sum to 1"),
        ({"x": {"values": []}}, {}, "must be a list of one or more"),
        ({"x": 3}, {}, "parameters.x: 3 needs `value`"),
        ({"x": {"min": 0.1, "max": 1}}, {"method": "grid"}, "parameters.x: a grid needs `values`, not a uniform"),
        ({"x": {"value": 1}}, {"method": "guess"}, "method: 'guess' is not one of"),
        ({"x": {"value": 1}}, {"run_cap": None}, "run_cap: a random sweep without one would never end"),
        ({"x": {"value": 1}}, {"run_cap": 0}, "run_cap: 0 must be"),
        ({"x": {"value": 1}}, {"early_terminate": {"type": "median"}}, "not of type hyperband"),
        ({"x": {"value": 1}}, {"metric": {"goal": "up"}}, "metric: .* needs a name"),
        ({"x": {"value": 1}}, {"budget": 3}, "budget: is no part of a sweep file"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(tmp_path, parameters, changes, told):
    with pytest.raises(InputError, match=rf"sweep\.yaml: .*{told}"):
        spec(tmp_path, parameters, **changes)


# The files that are shipped


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_sweep_that_is_shipped_fits_the_command_line(path, monkeypatch, tmp_path, capsys):
    """The first trial of each is parsed as its command would, and its settings arrive."""
    found = read_spec(path)
    rehearse(found)
    assert f"# {path.stem}: {found.method}" in capsys.readouterr().out
    assert found.name == path.stem
    rng = random.Random(1)
    config = {one.key: drawn(one, rng) for one in found.parameters}
    args = tmp_path / "args.json"
    args.write_text(json.dumps(config))
    words = found.words(config, args)
    assert words[:4] == [sys.executable, "-m", "velm_lightning", "fit"]
    monkeypatch.chdir(ROOT)
    parsed = prepared(monkeypatch, *words[3:], build=False).config["fit"]
    for key, value in config.items():
        arrived = parsed[key.replace(".optimization.", ".optimization.init_args.")]  # the parser completes the key
        assert (arrived.rpartition(".")[2] if key.endswith("class_path") else arrived) == value


def test_there_are_sweeps():
    assert {path.stem for path in FILES} >= {"vqa_fusion", "vqa_bayes", "captioning_fusion"}

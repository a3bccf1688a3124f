"""Sweep files: W&B's format, every distribution of it, and refusals that name the key."""

import json
import math
import random
import re
import statistics
import sys
from pathlib import Path

import pytest
import yaml
from helpers.command_line import ROOT, prepared

from velm_lightning.errors import InputError
from velm_lightning.sweep.macros import expanded
from velm_lightning.sweep.program import check_program
from velm_lightning.sweep.show import drawn, rehearse
from velm_lightning.sweep.spec import VELM, flattened
from velm_lightning.sweep.spec_file import read_spec

FILES = sorted((ROOT / "sweeps").glob("*.yaml"))


def spec(folder, parameters, **changes):
    whole = {"method": "random", "run_cap": 3, "parameters": parameters} | changes
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in whole.items() if value is not None}, sort_keys=False))
    return read_spec(path)


def draws(folder, count=400, **about):
    (parameter,) = spec(folder, {"x": about}).parameters
    rng = random.Random(0)
    return [drawn(parameter, rng) for _ in range(count)]


# Distributions


def test_a_choice_draws_its_values(tmp_path):
    assert set(draws(tmp_path, values=["a", 1, None])) == {"a", 1, None}
    assert set(draws(tmp_path, value=7)) == {7}


def test_values_follow_their_probabilities(tmp_path):
    values = draws(tmp_path, values=["a", "b"], probabilities=[0.9, 0.1])
    assert 0.85 < values.count("a") / len(values) < 0.95


def test_integer_bounds_give_integers(tmp_path):
    assert set(draws(tmp_path, min=1, max=3)) == {1, 2, 3}
    values = draws(tmp_path, min=0, max=0.5)
    assert all(isinstance(value, float) and 0 <= value <= 0.5 for value in values)
    assert 0.2 < statistics.mean(values) < 0.3


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
def test_median_and_range_match_the_distribution(tmp_path, about, low, high, middle):
    values = draws(tmp_path, **about)
    assert low * 0.999 <= min(values) <= max(values) <= high * 1.001
    assert statistics.median(values) == pytest.approx(middle, rel=0.35)


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
    values = set(draws(tmp_path, **about))
    assert len(values) > 3
    assert all(value / step == pytest.approx(round(value / step)) for value in values)
    assert all(isinstance(value, int) for value in values) == float(step).is_integer()


def test_nested_parameters_are_dotted(tmp_path):
    sweep = spec(
        tmp_path,
        {"model": {"parameters": {"dropout": {"values": [0, 1]}, "deep": {"parameters": {"a": {"value": 1}}}}}},
    )
    assert [parameter.key for parameter in sweep.parameters] == ["model.dropout", "model.deep.a"]


# Grids and budgets


def test_a_grid_varies_the_last_parameter_fastest(tmp_path):
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
    sweep = spec(tmp_path, {"model.class_path": {"values": ["Early", "x.Late"]}, "y": {"min": 0, "max": 9}}, run_cap=7)
    parts = sweep.split("model")
    assert [(part.name, part.cap) for part in parts] == [("sweep-early", 7), ("sweep-late", 7)]
    assert [part.parameters[0].grid() for part in parts] == [("Early",), ("x.Late",)]
    assert all(part.parameters[1] == sweep.parameters[1] for part in parts)
    with pytest.raises(InputError, match="--per y must name a parameter"):
        sweep.split("y")


def test_early_termination_by_first_or_by_last_iteration(tmp_path):
    words = {"x": {"value": 1}}
    assert spec(tmp_path, words, early_terminate={"type": "hyperband", "min_iter": 3}).early == (3, 3)
    sweep = spec(tmp_path, words, early_terminate={"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3})
    assert sweep.early == (3, 3)
    sweep = spec(tmp_path, words, early_terminate={"type": "hyperband", "max_iter": 9, "s": 10**9})
    assert sweep.early == (1, 3)


# Commands


@pytest.mark.parametrize("name", ["../outside", "/tmp/x", "a/b", "..", ".", "", "a\\b", "a\nb", "a\0b"])
def test_the_name_of_a_sweep_is_one_folder(tmp_path, name):
    with pytest.raises(InputError, match=r"name is .*: give one folder name"):
        spec(tmp_path, {"x": {"value": 1}}, name=name)
    assert spec(tmp_path, {"x": {"value": 1}}, name="Sweep of März: 1").name == "Sweep of März: 1"


def test_a_sweep_per_value_has_a_folder_beside_the_others(tmp_path):
    whole = spec(tmp_path, {"x": {"values": ["a.Late", "org/name", "../up"]}}, name="s")
    assert [part.name for part in whole.split("x")] == ["s-late", "s-org-name", "s--up"]


CONFIG = {"a.b": 1, "on": True, "off": False, "none": None}


@pytest.mark.parametrize(
    ("macro", "words"),
    [
        ("${env}", []),
        ("${interpreter}", [sys.executable, "-u"]),
        ("${program}", ["train.py"]),
        ("${args}", ["--a.b=1", "--on=True", "--off=False", "--none=None"]),
        ("${args_no_hyphens}", ["a.b=1", "on=True", "off=False", "none=None"]),
        ("${args_no_equals}", ["--a.b", "1", "--on", "True", "--off", "False", "--none", "None"]),
        ("${args_no_boolean_flags}", ["--a.b=1", "--on", "--none=None"]),
        ("${args_append_hydra}", ["+a.b=1", "+on=True", "+off=False", "+none=None"]),
        ("${args_override_hydra}", ["++a.b=1", "++on=True", "++off=False", "++none=None"]),
        ("${args_json}", ['{"a.b": 1, "on": true, "off": false, "none": null}']),
        ("${args_json_file}", ["f.json"]),
        ("${envvar:PLACE}/x", ["here/x"]),
    ],
)
def test_a_macro_is_replaced_as_by_wandb(tmp_path, monkeypatch, macro, words):
    monkeypatch.setenv("PLACE", "here")
    sweep = spec(tmp_path, {"a.b": {"value": 1}}, command=[macro], program="train.py")
    assert sweep.words(CONFIG, Path("f.json")) == words


def test_the_macros_are_those_of_wandb():
    """``args_dict`` is none: its keys would become the words of the command."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    named = utils.create_sweep_command_args({"args": {}}).keys() - {"args_dict"}
    with pytest.raises(InputError) as error:
        expanded(["${nowhere}"], {}, Path(), "")
    assert {name for name in named if f"${{{name}}}" not in str(error.value)} == set()


@pytest.mark.parametrize("word", ["${args_dict}", "x${args}", "${envvar:NOT_SET_AT_ALL}"])
def test_what_is_no_macro_is_refused_before_the_first_trial(tmp_path, word):
    sweep = spec(tmp_path, {"a.b": {"value": 1}}, command=["velm", "fit", word])
    with pytest.raises(InputError, match="command: "):
        check_program(sweep)


@pytest.mark.parametrize(
    "words",
    [
        ["${args}"],
        ["${args_no_equals}"],
        ["--config", "${args_json}"],
        ["--config", "${args_json_file}"],
        ["${args_no_boolean_flags}"],
    ],
    ids=" ".join,
)
def test_velm_reads_the_settings_of_a_macro(tmp_path, monkeypatch, words):
    values = {"trainer.max_epochs": 2, "trainer.limit_val_batches": None, "data.cache_features": True}
    if words[0] != "--config":
        del values["trainer.limit_val_batches"]
    if words == ["${args_no_boolean_flags}"]:
        del values["data.cache_features"]
    command = ["velm", "fit", "--config", "conf/vqa.yaml", *words]
    sweep = spec(tmp_path, {key: {"value": value} for key, value in values.items()}, command=command)
    check_program(sweep)
    (tmp_path / "args.json").write_text(json.dumps(values))
    monkeypatch.chdir(ROOT)
    parsed = prepared(monkeypatch, *sweep.words(values, tmp_path / "args.json")[4:], build=False).config["fit"]
    assert {key: parsed[key] for key in values} == values


@pytest.mark.parametrize(
    ("macro", "value"),
    [
        ("${args_no_hyphens}", 1),
        ("${args_append_hydra}", 1),
        ("${args_override_hydra}", 1),
        ("${args_no_boolean_flags}", True),
        ("${args}", None),
        ("${args_no_equals}", None),
    ],
)
def test_a_macro_that_velm_cannot_read_is_refused_by_name(tmp_path, macro, value):
    sweep = spec(tmp_path, {"a": {"values": [value, 2]}}, command=["velm", "fit", macro])
    with pytest.raises(InputError, match=rf"velm does not read .*{re.escape(macro)}.*: use --config"):
        check_program(sweep)
    check_program(spec(tmp_path, {"a": {"value": 1}}, command=["velm", "fit", "--config", "${args_json_file}"]))


def test_the_command_velm_runs_this_package(tmp_path):
    sweep = spec(tmp_path, {"a": {"value": 1}}, command=["velm", "fit", "--config", "${args_json_file}"])
    assert sweep.words({}, Path("f.json")) == [*VELM, "fit", "--config", "f.json"]


# Errors


@pytest.mark.parametrize(
    ("parameters", "changes", "message"),
    [
        ({"x": {"min": "0.5", "max": 1}}, {}, r"parameters.x.min: YAML reads '0.5' as text: write it as 0.5"),
        ({"x": {"min": 2, "max": 1}}, {}, "parameters.x: min 2 and max 1 .* must be min <= max"),
        ({"x": {"min": 0, "max": 1, "distribution": "log_uniform_values"}}, {}, "must be 0 < min <= max"),
        ({"x": {"min": 0, "max": 1000, "distribution": "log_uniform"}}, {}, "1000 is an exponent of e"),
        ({"x": {"distribution": "gamma", "min": 0, "max": 1}}, {}, "distribution: 'gamma' is not one of"),
        ({"x": {"values": [1, 2], "probabilities": [0.5, 0.6]}}, {}, "must be one number per value and sum to 1"),
        ({"x": {"values": [1, 2], "probabilities": ["0.5", "0.5"]}}, {}, "must be one number per value and sum to 1"),
        ({"x": {"min": math.nan, "max": 1.0}}, {}, "parameters.x.min must be a finite number, got nan"),
        ({"x": {"min": 0.0, "max": math.inf}}, {}, "parameters.x.max must be a finite number, got inf"),
        ({"x": {"mu": 0, "sigma": -1}}, {}, "parameters.x.sigma must be a finite number above 0, got -1"),
        ({"x": {"min": 0, "max": 1, "q": -1, "distribution": "q_uniform"}}, {}, "parameters.x.q must be .* at least 0"),
        ({"x": {"min": -1000, "max": 0, "distribution": "log_uniform"}}, {}, "min: -1000 is an exponent of e"),
        ({"x": {"mu": 900, "sigma": 1, "distribution": "log_normal"}}, {}, "mu 900 and sigma 1 are exponents of e"),
        ({"x": {"min": 1, "max": 10**12}}, {"method": "grid"}, "parameters.x: 1e.12 values are too many for a grid"),
        ({"x": {"values": []}}, {}, "must be a list of one or more"),
        ({"x": 3}, {}, "parameters.x: 3 needs `value`"),
        ({"x": {"min": 0.1, "max": 1}}, {"method": "grid"}, "parameters.x: a grid needs `values`, not a uniform"),
        ({"x": {"value": 1}}, {"method": "guess"}, "method: 'guess' is not one of"),
        ({"x": {"value": 1}}, {"run_cap": None}, "run_cap: is missing, and a random sweep would never end"),
        ({"x": {"value": 1}}, {"run_cap": 0}, "run_cap must be a whole number of at least 1, got 0"),
        ({"x": {"value": 1}}, {"early_terminate": {"type": "median"}}, "must be of `type: hyperband`"),
        *(
            ({"x": {"value": 1}}, {"early_terminate": {"type": "hyperband"} | wrong}, f"early_terminate.{message}")
            for wrong, message in [
                ({"min_iter": "x"}, "min_iter must be a whole number, got 'x'"),
                ({"min_iter": math.nan}, "min_iter must be a whole number, got nan"),
                ({"min_iter": 1, "eta": 1}, "eta must be at least 2, got 1"),
                ({"max_iter": "9"}, "max_iter must be a whole number, got '9'"),
                ({"max_iter": 9, "s": -1}, "s must be at least 0, got -1"),
            ]
        ),
        ({"x": {"value": 1}}, {"metric": {"goal": "up"}}, "metric: .* needs a `name`"),
        ({"x": {"value": 1}}, {"budget": 3}, "budget: is not a key of a sweep file"),
    ],
)  # fmt: skip
def test_an_unusable_entry_is_named(tmp_path, parameters, changes, message):
    with pytest.raises(InputError, match=rf"sweep\.yaml: .*{message}"):
        spec(tmp_path, parameters, **changes)


# The files that are shipped


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_sweep_fits_the_command_line(path, monkeypatch, tmp_path, capsys):
    """The command line parses the first trial of each sweep, and the config holds its settings."""
    sweep = read_spec(path)
    rehearse(sweep)
    assert f"# {path.stem}: {sweep.method}" in capsys.readouterr().out
    assert sweep.name == path.stem
    rng = random.Random(1)
    config = flattened({parameter.key: drawn(parameter, rng) for parameter in sweep.parameters})
    args = tmp_path / "args.json"
    args.write_text(json.dumps(config))
    words = sweep.words(config, args)
    assert words[:5] == [sys.executable, "-P", "-m", "velm_lightning", "fit"]
    monkeypatch.chdir(ROOT)
    parsed = prepared(monkeypatch, *words[4:], build=False).config["fit"]
    for key, value in config.items():
        arrived = parsed[key.replace(".optimization.", ".optimization.init_args.")]  # the parser completes the key
        assert holds(arrived, value), key


def holds(arrived, value):
    """Whether a setting arrived; a class by its short name, and with other arguments besides the given ones."""
    if isinstance(value, dict):
        return all(holds(arrived[key], each) for key, each in value.items())
    return arrived == value or isinstance(arrived, str) and arrived.rpartition(".")[2] == value


def test_sweeps_are_shipped():
    assert {path.stem for path in FILES} >= {"vqa_fusion", "vqa_bayes", "captioning_fusion"}

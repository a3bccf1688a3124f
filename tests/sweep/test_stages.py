"""The stages of a sweep before its own grid: equal budgets, and settings that are tuned for each arm."""

import json
import subprocess
from collections import Counter

import pytest
import yaml
from helpers.command_line import ROOT

from velm_lightning.cli.commands import main
from velm_lightning.errors import InputError
from velm_lightning.sweep import stages
from velm_lightning.sweep.spec import VELM, flattened
from velm_lightning.sweep.spec_file import read_spec
from velm_lightning.sweep.stages import arms, label, tuning, with_budgets

TRIAL_FILE = str(ROOT / "tests/helpers/trial.py")
RATES = {"x": {"values": [0.25, 0.75, 0.5]}, "seed_everything": {"values": [8, 9]}}
ARMS = {"a": {"values": ["first", "second"]}, "seed_everything": {"values": [0, 1, 2]}}
MODELS = [{"class_path": "EarlyFusion", "init_args": {"join": join}} for join in (0, 1)]


def written(folder, **changes):
    whole = {"method": "grid", "parameters": ARMS, "command": ["${interpreter}", TRIAL_FILE, "${args_json_file}"]}
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump(whole | changes, sort_keys=False))
    return path


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A function that runs a sweep file in a folder of its own; returns its exit code and the trials in order."""
    monkeypatch.setenv("SWEEP_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("VELM_ALLOW", TRIAL_FILE)

    def run(path, *more):
        code = main(["sweep", str(path), "--folder", str(tmp_path / "state"), *more])
        log = tmp_path / "log"
        return code, [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return run


def test_every_arm_gets_its_best_setting_before_its_seeds(sweep, tmp_path, capsys):
    path = written(tmp_path, tune=RATES)
    code, trials = sweep(path)
    assert code == 0
    first, second = trials[:12], trials[12:]
    assert Counter((each["a"], each["x"], each["seed_everything"]) for each in first) == Counter(
        (arm, x, seed) for arm in ("first", "second") for x in (0.25, 0.75, 0.5) for seed in (8, 9)
    )
    assert [(each["a"], each["x"], each["seed_everything"]) for each in second] == [
        (arm, 0.75, seed) for arm in ("first", "second") for seed in (0, 1, 2)
    ]
    assert "a=first: x=0.75 is best on validation data" in capsys.readouterr().out
    assert sweep(path) == (0, trials), "nothing is run again"


def test_both_stages_are_rehearsed_and_shown(sweep, tmp_path, capsys):
    path = written(tmp_path, tune=RATES)
    assert sweep(path, "--dry") == (0, [])
    assert "# made-tuning: grid, 12 trials" in (out := capsys.readouterr().out)
    assert "# made: grid, 6 trials" in out
    assert sweep(path, "--show") == (1, [])


def test_an_arm_without_a_score_ends_the_sweep_by_name(sweep, tmp_path, capsys):
    path = written(tmp_path, tune=RATES, parameters={"mode": {"values": ["", "fail"]}})
    assert sweep(path)[0] == 2
    assert "made-tuning: no trial of mode=fail has a score" in capsys.readouterr().err


def test_constants_of_the_first_stage_replace_those_of_the_sweep(tmp_path):
    constant = {"tracking.experiment": {"value": "made"}}
    spec = read_spec(written(tmp_path, parameters=ARMS | constant, tune={"tracking.experiment": {"value": "search"}}))
    assert {point["tracking.experiment"] for point in tuning(spec).points()} == {"search"}
    assert {point["tracking.experiment"] for point in spec.points()} == {"made"}
    assert len(arms(spec)) == 2


# Budgets


@pytest.fixture
def asked(monkeypatch):
    """The calls of ``velm budget``, which is replaced: every arm gets the width 100 + its number."""
    calls = []

    def run(command):
        options = dict(zip(command[len(VELM) + 1 :: 2], command[len(VELM) + 2 :: 2], strict=True))
        with open(options["--arms"]) as file:
            words = json.load(file)
        calls.append((command[len(VELM)], words, options))
        found = {name: {"settings": {"model.width": 100 + place}} for place, name in enumerate(words)}
        with open(options["--json"], "w") as file:
            json.dump({"arms": found}, file)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(stages.subprocess, "run", run)
    return calls


def matched(folder, **changes):
    given = {
        "match": {"by": "flops"},
        "parameters": {"seed_everything": {"values": [0, 1]}, "model": {"values": MODELS}},
        "command": ["velm", "fit", "--config", "conf/vqa.yaml", "--config", "${args_json_file}"],
    }
    return read_spec(written(folder, **(given | changes)))


def test_every_arm_is_matched_once_and_keeps_its_width(tmp_path, asked):
    spec = with_budgets(matched(tmp_path), tmp_path)
    ((command, words, options),) = asked
    assert command == "budget"
    assert list(words) == ["EarlyFusion join=0", "EarlyFusion join=1"]
    assert options["--by"] == "flops"
    assert options["--tolerance"] == "2%"
    for place, given in enumerate(words.values()):
        assert given[:3] == ["--config", "conf/vqa.yaml", "--config"]
        arm = json.loads((tmp_path / "budget" / f"arm-{place}.json").read_text())
        assert arm == {"model.class_path": "EarlyFusion", "model.init_args.join": place, "seed_everything": 0}
    widths = {point["model"]["init_args"]["join"]: spec.complete(point)["model.width"] for point in spec.points()}
    assert widths == {0: 100, 1: 101}
    with_budgets(matched(tmp_path), tmp_path)
    assert len(asked) == 1, "a sweep that continues keeps its widths"
    with_budgets(matched(tmp_path, match={"by": "parameters"}), tmp_path)
    assert len(asked) == 2


def test_budgets_are_not_written_where_a_link_leads(tmp_path, asked):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "budget").mkdir()
    for name in ("arm-0.json", "arms.json"):
        (tmp_path / "budget" / name).symlink_to(tmp_path / "elsewhere")
    with_budgets(matched(tmp_path), tmp_path)
    assert (tmp_path / "elsewhere").read_text() == "precious"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"arms": {"EarlyFusion join=0": 3}}', '{"arms": null}', "\xff"])
@pytest.mark.parametrize("name", ["found.json", "asked.json"])
def test_damaged_budgets_are_computed_again(tmp_path, asked, name, content):
    first = with_budgets(matched(tmp_path), tmp_path)
    (tmp_path / "budget" / name).write_text(content, "latin-1")
    again = with_budgets(matched(tmp_path), tmp_path)
    assert len(asked) == 2
    assert [again.complete(point) for point in again.points()] == [first.complete(point) for point in first.points()]


def test_a_budget_that_cannot_be_matched_ends_the_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(stages.subprocess, "run", lambda words: subprocess.CompletedProcess(words, 2))
    with pytest.raises(InputError, match="the budgets of the arms cannot be matched; nothing was run"):
        with_budgets(matched(tmp_path), tmp_path)


def test_classes_and_arguments_are_passed_by_dotted_keys():
    encoder = {"class_path": "RNN", "init_args": {"config": {"size": 3}}}
    given = {"seed": 1, "model.init_args.x": 2, "model": {"class_path": "A", "init_args": {"text": encoder}}}
    assert list(flattened(given).items()) == [
        ("model.class_path", "A"),
        ("model.init_args.text.class_path", "RNN"),
        ("seed", 1),
        ("model.init_args.x", 2),
        ("model.init_args.text.init_args.config", {"size": 3}),
    ]
    assert flattened({"a.b": [1], "c": {}}) == {"a.b": [1], "c": {}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"match": {"by": "width"}}, "needs `by: parameters` or `by: flops`"),
        ({"match": {"arms": 3}}, "needs `by: parameters` or `by: flops`"),
        ({"tune": RATES, "method": "random", "run_cap": 3}, "match and tune are for a grid of arms, got random"),
        ({"tune": {"x": {"min": 0.0, "max": 1.0}}}, "parameters.x: a grid needs `values`"),
    ],
)
def test_stages_that_cannot_be_run_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_spec(written(tmp_path, **changes))


def test_other_engines_and_commands_are_refused(sweep, tmp_path, capsys):
    path = written(tmp_path, tune=RATES)
    for words in (["--engine", "wandb"], ["--per", "a"]):
        assert sweep(path, *words)[0] == 2
        assert f"match, tune and --until do not go with {words[0]}" in capsys.readouterr().err
    assert sweep(written(tmp_path, match={"by": "flops"}))[0] == 2
    assert "match: needs trials that run `velm fit`" in capsys.readouterr().err


def test_the_sweep_of_the_meeting_depth_has_its_stages():
    spec = read_spec(ROOT / "sweeps" / "meeting_depth.yaml")
    names = [label(mark) for mark in arms(spec)]
    assert len(set(names)) == len(names) == 17
    assert spec.match.by == "parameters"
    assert len(list(tuning(spec).points())) == 3 * 17
    assert len(list(spec.points())) == 7 * 17

"""Adding seeds to undecided pairs: which trials run at each look, continuing, and what is refused."""

import json
import os
from collections import Counter
from dataclasses import replace

import pytest
import yaml
from helpers.command_line import CONF, FEW, ROOT, SMALL
from helpers.run_folders import run

from velm_lightning.cli.commands import main
from velm_lightning.cli.sweep.until import run_stages
from velm_lightning.compare.deciding.sequential import schedule_for
from velm_lightning.compare.reading import read_runs
from velm_lightning.errors import InputError
from velm_lightning.sweep.spec_file import read_spec
from velm_lightning.sweep.study import Study
from velm_lightning.sweep.until import keep_schedule, run_until_decided, seeds_of, stages

RIGHT = {"LateFusion": 0.9, "EarlyFusion": 0.5, "InteractiveFusion": 0.5}
MODELS = {"model.class_path": {"values": list(RIGHT)}, "seed_everything": {"values": [0, 1]}}


def written(folder, **changes):
    whole = {"method": "grid", "parameters": MODELS, "command": ["velm", "fit", "--config", "${args_json_file}"]}
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump(whole | changes, sort_keys=False))
    return path


def spec_of(folder, looks=3, most=12):
    spec = read_spec(written(folder))
    schedule = schedule_for(3, seeds_of(spec), most, looks)
    return replace(spec, looks=json.dumps(schedule._asdict()))


class Trainings:
    """Run the trials of a study by writing run folders; remembers what was run."""

    def __init__(self, folder):
        self.folder, self.done = folder, []

    def __call__(self, study):
        while (taken := study.next()) is not None:
            trial, config = taken
            fusion, seed = config["model.class_path"], config["seed_everything"]
            made = run(
                self.folder / "runs", fusion, seed, RIGHT[fusion], record={"looks": json.loads(study.spec.looks)}
            )
            study.folder_of(trial).mkdir(parents=True)
            (study.folder_of(trial) / "run").write_text(str(made))
            study.finished(trial, RIGHT[fusion])
            self.done.append((fusion, seed))


def swept(folder, spec, trainings, rope=0.0):
    state = folder / "state"
    return run_stages(spec, state, lambda part: Study(part, f"sqlite:///{state}/sweep.db", state), trainings, rope)


def test_only_undecided_arms_get_more_seeds(tmp_path, capsys):
    trainings = Trainings(tmp_path)
    assert swept(tmp_path, spec_of(tmp_path), trainings)
    counts = Counter(fusion for fusion, _ in trainings.done)
    assert counts == {"LateFusion": 5, "EarlyFusion": 12, "InteractiveFusion": 12}
    assert sorted(seed for fusion, seed in trainings.done if fusion == "EarlyFusion") == list(range(12))
    out = capsys.readouterr().out
    assert "look 1 of 3, 5 seeds" in out
    assert "the methods of open pairs get 3 more seeds" in out
    assert "the budget of 12 seeds is spent" in out


def test_small_differences_end_a_sweep(tmp_path, capsys):
    trainings = Trainings(tmp_path)
    swept(tmp_path, spec_of(tmp_path), trainings, rope=0.9)
    assert len(trainings.done) == 15
    assert "all pairs are decided" in capsys.readouterr().out


def test_a_stopped_sweep_continues_where_it_was(tmp_path):
    spec, trainings = spec_of(tmp_path), Trainings(tmp_path)

    def stopped(study):
        if study.spec.name.endswith("look2"):
            raise KeyboardInterrupt
        trainings(study)

    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path, spec, stopped)
    assert len(trainings.done) == 15
    swept(tmp_path, spec, trainings)
    assert len(trainings.done) == len(set(trainings.done)) == 29
    swept(tmp_path, spec, trainings)
    assert len(trainings.done) == 29, "nothing is run again"


def test_trials_of_another_process_are_waited_for(tmp_path):
    def one_left(study):
        study.next()

    with pytest.raises(InputError, match="15 trials of made-look1 are not finished"):
        swept(tmp_path, spec_of(tmp_path), one_left)


def test_the_looks_of_a_sweep_cannot_be_changed(tmp_path):
    keep_schedule(spec_of(tmp_path), tmp_path)
    keep_schedule(spec_of(tmp_path), tmp_path)
    with pytest.raises(InputError, match="was started with other looks"):
        keep_schedule(spec_of(tmp_path, looks=4), tmp_path)
    (tmp_path / "looks.json").write_bytes(b"\xff\x1b" * 5000)
    with pytest.raises(InputError, match="was started with other looks") as refused:
        keep_schedule(spec_of(tmp_path), tmp_path)
    assert len(str(refused.value)) < 500
    os.truncate(tmp_path / "looks.json", 2**43)
    with pytest.raises(InputError, match=r"looks\.json has 8,796,093,022,208 bytes, more than"):
        keep_schedule(spec_of(tmp_path), tmp_path)


def test_stages_have_the_seeds_that_they_add(tmp_path):
    parts = list(stages(spec_of(tmp_path)))
    assert [part.name for part in parts] == ["made-look1", "made-look2", "made-look3"]
    seeds = [[p.values for p in part.parameters if p.key == "seed_everything"][0] for part in parts]
    assert seeds == [(0, 1, 2, 3, 4), (5, 6, 7), (8, 9, 10, 11)]


def test_an_arm_without_a_finished_run_asks_for_nothing(tmp_path):
    looks = []
    run_until_decided(spec_of(tmp_path), lambda part: {}, lambda number, folders: looks.append(folders) or [])
    assert looks == [[]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "random", "run_cap": 3}, "is for a grid of arms, got random"),
        ({"run_cap": 3}, "takes its budget from --max-seeds"),
        ({"parameters": {"a": {"values": [1, 2]}}}, "seed_everything: --until decided needs whole numbers"),
        ({"parameters": MODELS | {"seed_everything": {"values": [0, 0]}}}, "has a value twice"),
        ({"parameters": {"seed_everything": {"values": [0, 1]}}}, "compares 2 to 10 arms, got 1"),
    ],
)
def test_sweeps_that_cannot_get_more_seeds_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        seeds_of(read_spec(written(tmp_path, **changes)))


def test_the_plan_is_rehearsed(tmp_path, capsys):
    assert main(["sweep", str(written(tmp_path)), "--until", "decided", "--max-seeds", "8", "--dry"]) == 0
    out = capsys.readouterr().out
    assert "# made-look1: grid, 15 trials" in out
    assert "# made-look3: grid, 3 trials" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "wandb"], "--until do not go with --engine wandb"),
        (["--max-seeds", "3"], "--max-seeds must be at least 5"),
        (["--rope", "-1"], "--rope must be at least 0"),
    ],
)
def test_other_options_are_refused(tmp_path, capsys, words, message):
    assert main(["sweep", str(written(tmp_path)), "--until", "decided", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_real_trainings_are_judged(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    models = {"model.class_path": {"values": ["LateFusion", "TextOnly"]}, "seed_everything": {"values": [0, 1]}}
    fixed = ["--trainer.max_epochs=1", "--tracking.wandb=off"]
    words = ["velm", "fit", "--config", str(CONF / "vqa.yaml"), "--config", "${args_json_file}", *FEW, *SMALL, *fixed]
    path = written(tmp_path, parameters=models, command=words)
    assert main(["sweep", str(path), "--until", "decided", "--max-seeds", "4", "--engine", "optuna"]) == 0
    assert "look 1 of 1, 4 seeds" in capsys.readouterr().out
    runs, left = read_runs([tmp_path / "runs" / "vqa"])
    assert (len(runs), left) == (8, [])
    assert runs[0].record["looks"] == {"seeds": [0, 1, 2, 3], "looks": [4]}

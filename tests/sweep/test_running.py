"""Running a sweep: every trial runs once even after kills, failures are recorded, bad trials are stopped.

The trials are `trial.py`, which exchanges files with the sweep like a training run; one test runs real trainings.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import optuna
import pytest
import yaml
from helpers.command_line import CONF, FEW, ROOT, SMALL
from optuna.trial import TrialState

from velm_lightning.cli.commands import main
from velm_lightning.errors import InputError
from velm_lightning.sweep.processes import working
from velm_lightning.sweep.spec_file import read_spec
from velm_lightning.sweep.study import Study
from velm_lightning.sweep.worker import _new_values, reached, recover, run_record

TRIAL = str(Path(__file__).parents[1] / "helpers/trial.py")


class Sweep:
    """A sweep file whose trials are ``trial.py``, in a folder of its own."""

    def __init__(self, folder, parameters, **changes):
        self.folder, self.file, self.log = folder, folder / "made.yaml", folder / "log"
        whole = {
            "method": "grid",
            "metric": {"name": "val/score", "goal": "maximize"},
            "command": ["${interpreter}", TRIAL, "${args_json_file}"],
            "parameters": parameters,
        }
        self.file.write_text(yaml.safe_dump(whole | changes, sort_keys=False))

    @property
    def words(self):
        return ["sweep", str(self.file), "--folder", str(self.folder / "state"), "--engine", "optuna"]

    def run(self, *more):
        return main([*self.words, *more])

    def study(self):
        folder = self.folder / "state" / "made"
        return Study(read_spec(self.file), f"sqlite:///{folder}/sweep.db", folder)

    def states(self):
        return Counter(trial.state.name for trial in self.study().trials())

    def started(self):
        """The settings of every trial that was started, once per start."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    def make(parameters, **changes):
        made = Sweep(tmp_path, parameters, **changes)
        monkeypatch.setenv("SWEEP_LOG", str(made.log))
        monkeypatch.setenv("VELM_ALLOW", f"{TRIAL},no-such-program")
        return made

    return make


def test_a_grid_runs_every_point_once_and_ends(sweep, capsys):
    sweep_run = sweep({"x": {"values": [0.25, 0.5, 0.75]}, "y": {"values": ["a", None]}})
    assert sweep_run.run() == 0
    points = [(point["x"], point["y"]) for point in sweep_run.started()]
    assert points == [(x, y) for x in (0.25, 0.5, 0.75) for y in ("a", None)]
    assert sweep_run.states() == {"COMPLETE": 6}
    assert sweep_run.study().optuna.best_value == 0.75
    assert sweep_run.run() == 0
    assert len(sweep_run.started()) == 6
    assert "\nimportance " in capsys.readouterr().out


def test_a_trial_is_one_line_with_the_best_and_the_time_left(sweep, capsys):
    assert sweep({"x": {"values": [0.25, 0.75, 0.5]}, "mode": {"value": ""}}).run() == 0
    header, first, second, third, *rest = capsys.readouterr().out.splitlines()
    assert header.startswith("sweep made: grid, 3 trials, 0 of them done, 1 at a time; val/score, higher is better")
    assert re.fullmatch(r"trial 0 \(1/3\)  val/score 0.2500 \(best\)  \S+ s  x=0.25  about \S+ s left", first)
    assert re.fullmatch(r"trial 1 \(2/3\)  val/score 0.7500 \(best\)  \S+ s  x=0.75  about \S+ s left", second)
    assert re.fullmatch(r"trial 2 \(3/3\)  val/score 0.5000 \(best 0.7500\)  \S+ s  x=0.5", third)
    best, *commands = rest[-5:]
    assert best.startswith("best: trial 1, val/score 0.7500: ")
    assert [line.split()[:2] for line in commands[1:]] == [["velm", "compare"], ["velm", "ask"], ["velm", "probe"]]


def test_a_failed_trial_is_one_line(sweep, capsys):
    assert sweep({"x": {"value": 0.5}, "mode": {"values": ["fail", ""]}}).run() == 0
    failed = capsys.readouterr().out.splitlines()[1]
    assert failed.startswith("trial 0 (1/2)  failed with exit code 1: something is wrong (see ")
    assert "mode=fail" in failed


def test_no_connection_to_the_database_stays_open(sweep):
    sweep_run = sweep({"x": {"values": [0.5]}})
    assert sweep_run.run("--workers", "2") == 0
    study = sweep_run.study()
    assert [trial.value for trial in study.trials()] == [0.5]
    assert not [target for target in map(os.path.realpath, Path("/proc/self/fd").iterdir()) if "sweep.db" in target]


@pytest.mark.parametrize("storage", ["sqlite:///~/state/sweep.db", "~/state/journal"])
def test_the_storage_may_be_named_by_the_home_folder(sweep, monkeypatch, tmp_path, storage):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert sweep({"x": {"values": [0.5]}}).run("--storage", storage) == 0
    assert (tmp_path / "state" / storage.rpartition("/")[2]).is_file()
    assert not (tmp_path / "~").exists()


DAMAGED = [lambda data: b"x" * 4096, lambda data: data[:4096], lambda data: data[:8192] + b"\xff" * 8192 + data[16384:]]


@pytest.mark.parametrize("spoil", DAMAGED)
def test_a_damaged_database_is_named(sweep, capsys, spoil):
    sweep_run = sweep({"x": {"values": [0.5]}})
    sweep_run.study()
    file = sweep_run.folder / "state" / "made" / "sweep.db"
    file.write_bytes(spoil(file.read_bytes()))
    capsys.readouterr()
    assert sweep_run.run() == 2
    error = capsys.readouterr().err
    assert "sweep.db cannot be opened: " in error
    assert error.count("\n") == 1


def test_several_workers_run_as_many_trials_as_the_cap(sweep):
    sweep_run = sweep({"x": {"min": 0.0, "max": 1.0}}, method="random", run_cap=5)
    assert sweep_run.run("--workers", "3") == 0
    assert sweep_run.states() == {"COMPLETE": 5}
    assert len({point["x"] for point in sweep_run.started()}) == 5


@pytest.mark.slow
def test_bayes_concentrates_on_good_values(sweep):
    sweep_run = sweep({"x": {"min": 0.0, "max": 1.0}}, method="bayes", run_cap=18)
    assert sweep_run.run("--workers", "2") == 0
    xs = [point["x"] for point in sweep_run.started()]
    assert sum(xs[-6:]) / 6 > sum(xs[:10]) / 10


def test_bad_trials_are_stopped_and_counted(sweep):
    sweep_run = sweep(
        {"x": {"values": [0.9, 0.8, 0.1]}}, early_terminate={"type": "hyperband", "min_iter": 1, "eta": 2}
    )
    assert sweep_run.run() == 0
    states = {trial.user_attrs["config"]["x"]: trial.state for trial in sweep_run.study().trials()}
    assert states == {0.9: TrialState.COMPLETE, 0.8: TrialState.PRUNED, 0.1: TrialState.PRUNED}
    pruned = next(trial for trial in sweep_run.study().trials() if trial.user_attrs["config"]["x"] == 0.1)
    assert list(pruned.intermediate_values.values()) == [0.025]


def test_a_failed_trial_is_recorded_and_not_run_again(sweep, capsys):
    sweep_run = sweep({"x": {"value": 0.5}, "mode": {"values": ["fail", ""]}})
    assert sweep_run.run() == 0
    assert sweep_run.run() == 0
    assert sweep_run.states() == {"COMPLETE": 1, "FAIL": 1}
    assert len(sweep_run.started()) == 2
    failed = next(trial for trial in sweep_run.study().trials() if trial.state == TrialState.FAIL)
    assert failed.user_attrs["error"] == "exit code 1: something is wrong"
    assert f"trial {failed.number} failed: exit code 1: something is wrong" in capsys.readouterr().out


NO_FIGURES = ["[]", '{"val/score": []}', '{"val/score": "good"}', "7", "{", "[" * 100_000]
NO_FIGURES.append('{"val/score": 1' + "0" * 400 + "}")
NO_RECORDS = ["[]", '{"status": "finished", "scores": []}', '{"scores": {"val": 3}}', "{", "[" * 100_000]


@pytest.mark.parametrize("text", NO_FIGURES)
def test_figures_of_another_kind_are_none(tmp_path, text):
    """Any program may be a trial, and write anything."""
    (tmp_path / "values.jsonl").write_text(f'{{"val/score": 0.5}}\n{text}\n')
    values = [value for _, value in _new_values(tmp_path, "val/score", 0)]
    assert values[0] == 0.5
    assert math.isnan(values[1])


@pytest.mark.parametrize("text", NO_RECORDS)
def test_a_record_of_another_kind_has_no_figure(tmp_path, text):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "run.json").write_text(text)
    (tmp_path / "run").write_text(str(tmp_path / "made"))
    assert math.isnan(reached(run_record(tmp_path), "val/score", tmp_path))


@pytest.mark.parametrize("name", ["run", "values.jsonl"])
def test_state_that_is_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert run_record(tmp_path) == {}
    assert math.isnan(reached({}, "val/score", tmp_path))


def test_a_trial_without_readable_figures_fails_and_others_run(sweep):
    sweep_run = sweep({"x": {"value": 0.5}, "mode": {"values": ["garbage", ""]}})
    assert sweep_run.run() == 0
    assert sweep_run.states() == {"COMPLETE": 1, "FAIL": 1}


def test_the_exit_code_is_1_if_every_trial_fails(sweep):
    assert sweep({"x": {"value": 0.5}, "mode": {"value": "fail"}}).run() == 1


def test_a_missing_program_is_a_failed_trial(sweep):
    sweep_run = sweep({"x": {"value": 0.5}}, command=["no-such-program"])
    assert sweep_run.run() == 1
    assert "no-such-program: No such file" in sweep_run.study().trials()[0].user_attrs["error"]


def test_a_trial_that_was_killed_is_run_again(sweep):
    sweep_run = sweep({"x": {"value": 0.5}, "mode": {"value": "die once"}})
    assert sweep_run.run() == 0
    assert sweep_run.states() == {"COMPLETE": 1}
    assert len(sweep_run.started()) == 2


def test_a_trial_that_is_killed_every_time_fails(sweep):
    sweep_run = sweep({"x": {"value": 0.5}, "mode": {"value": "die"}})
    assert sweep_run.run() == 1
    assert sweep_run.states() == {"FAIL": 1}
    assert len(sweep_run.started()) == 3


def killed(sweep_run, begun):
    """Start the sweep as a process, and kill it by SIGKILL when ``begun`` trials have started."""
    command = [sys.executable, "-m", "velm_lightning", *sweep_run.words]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(sweep_run.started()) >= begun)
    parent.kill()
    parent.wait()


def until(happened):
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_restarted_sweep_kills_orphans_and_finishes(sweep):
    """kill -9 of the parent while a trial hangs: its processes are ended, it is run again, and nothing else is."""
    sweep_run = sweep({"x": {"value": 0.5}, "mode": {"values": ["", "hang once", "a"]}})
    killed(sweep_run, begun=2)
    study = sweep_run.study()
    (hanging,) = study.trials(TrialState.RUNNING)
    (orphan,) = working(study.folder_of(hanging))
    assert sweep_run.run() == 0
    assert not running(orphan)
    assert sweep_run.states() == {"COMPLETE": 3}
    assert Counter(point["mode"] for point in sweep_run.started()) == {"": 1, "hang once": 2, "a": 1}


def test_a_trial_that_ends_without_its_sweep_is_not_run_again(sweep):
    sweep_run = sweep({"x": {"value": 0.5}, "mode": {"values": ["wait", "a"]}})
    killed(sweep_run, begun=1)
    study = sweep_run.study()
    (waiting,) = study.trials(TrialState.RUNNING)
    Path(f"{sweep_run.log}.go").touch()
    until(lambda: run_record(study.folder_of(waiting)))
    assert sweep_run.run() == 0
    assert sweep_run.states() == {"COMPLETE": 2}
    assert Counter(point["mode"] for point in sweep_run.started()) == {"wait": 1, "a": 1}


@pytest.mark.parametrize("last", ["set_trial_user_attr", "create_new_trial", "set_trial_state_values"])
def test_a_kill_while_a_trial_is_enqueued_again_loses_nothing(sweep, monkeypatch, last):
    """The storage fails after one of the writes that close a lost trial; then the sweep is continued."""
    sweep_run = sweep({"x": {"values": [0.25, 0.5]}})
    study = sweep_run.study()
    study.next()
    monkeypatch.setattr("velm_lightning.sweep.study.gone", lambda who: True)

    call = getattr(study.optuna._storage, last)

    def then_die(*words, **more):
        call(*words, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(study.optuna._storage, last, then_die)
        with pytest.raises(KeyboardInterrupt):
            recover(study)
    assert sweep_run.run() == 0
    assert sweep_run.states() == {"COMPLETE": 2}
    assert sorted(point["x"] for point in sweep_run.started()) == [0.25, 0.5]


def test_a_trial_taken_without_a_worker_record_is_run_again(sweep, monkeypatch):
    sweep_run = sweep({"x": {"values": [0.25, 0.5]}})
    study = sweep_run.study()
    study.optuna.ask()  # and then killed
    assert recover(study) == 0, "it may just be about to sign"
    monkeypatch.setattr("velm_lightning.sweep.study.UNSIGNED", timedelta())
    assert sweep_run.run() == 0
    assert sweep_run.states() == {"COMPLETE": 2}


def test_a_grid_that_was_enqueued_twice_is_run_once(sweep):
    """Two machines start a sweep at once, or the first is killed before it has recorded its start."""
    sweep_run = sweep({"x": {"values": [0.25, 0.5]}})
    study = sweep_run.study()
    for point in study.spec.points():
        study.optuna.enqueue_trial({key: json.dumps(value) for key, value in point.items()})
    assert sweep_run.run() == 0
    assert sweep_run.states() == {"COMPLETE": 2}
    assert [point["x"] for point in sweep_run.started()] == [0.25, 0.5]


def running(pid):
    """Whether a process is running; a killed one remains as a zombie until its parent waits for it."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.02)
    return True


def test_an_interrupt_ends_the_trial_and_enqueues_it_again(sweep):
    sweep_run = sweep({"x": {"value": 0.5}, "mode": {"value": "hang"}})
    command = [sys.executable, "-m", "velm_lightning", *sweep_run.words]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not sweep_run.started() and time.monotonic() < end:
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    _, err = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert "the same command continues the sweep" in err
    assert "Traceback" not in err, err
    assert sweep_run.states() == {"WAITING": 1}


def test_the_trials_of_a_running_sweep_are_left_alone(sweep):
    study = sweep({"x": {"values": [0.5, 0.6]}}).study()
    study.next()
    assert recover(study) == 0
    assert len(study.trials(TrialState.RUNNING)) == 1


def test_a_sweep_is_not_continued_by_a_different_one(sweep):
    sweep({"x": {"values": [0.5]}}).study()
    with pytest.raises(InputError, match="sweep 'made' was started with other parameters"):
        sweep({"x": {"values": [0.7]}}).study()


def test_every_model_is_searched_with_the_same_budget(sweep, tmp_path):
    sweep_run = sweep({"model": {"values": ["a", "b"]}, "x": {"min": 0.0, "max": 1.0}}, method="random", run_cap=2)
    assert sweep_run.run("--per", "model", "--storage", str(tmp_path / "journal.log")) == 0
    assert Counter(point["model"] for point in sweep_run.started()) == {"a": 2, "b": 2}


def test_importances_are_of_searched_parameters(sweep, capsys):
    sweep_run = sweep({"x": {"values": [0.1, 0.3, 0.6, 0.9]}, "other": {"values": ["a", "b"]}, "fixed": {"value": 3}})
    sweep_run.run()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("importance ")]
    shares = dict(reversed(line.split()[1:]) for line in lines)
    assert shares.keys() == {"x", "other"}
    assert float(shares["x"].rstrip("%")) > float(shares["other"].rstrip("%"))


def test_show_and_dry_run_no_trials(sweep, capsys):
    sweep_run = sweep({"x": {"values": [0.5, 0.25]}})
    assert sweep_run.run("--dry") == 0
    assert capsys.readouterr().out.count(TRIAL) == 2
    assert sweep_run.run("--show") == 1
    assert not sweep_run.started()


@pytest.mark.slow
def test_real_trainings_are_searched_and_stopped_early(tmp_path, monkeypatch):
    """Two fusions; at most one of them can be stopped early after the first epoch."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "real.yaml"
    small = [word for word in (*FEW, *SMALL) if "train=" not in word]
    fixed = ["--data.dataset.init_args.train=16", "--trainer.max_epochs=3", "--tracking.wandb=off"]
    words = ["velm", "fit", "--config", str(CONF / "vqa.yaml"), "--config", "${args_json_file}", *small, *fixed]
    parameters = {"model.class_path": {"values": ["LateFusion", "TextOnly"]}, "seed_everything": {"values": [0]}}
    whole = {
        "method": "grid",
        "metric": {"name": "val/loss", "goal": "minimize"},
        "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2},
        "parameters": parameters,
        "command": words,
    }
    file.write_text(yaml.safe_dump(whole, sort_keys=False))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert main(["sweep", str(file), "--engine", "optuna"]) == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "vqa").glob("*/run.json")]
    statuses = {record["model"]["class_path"].rpartition(".")[2]: record["status"] for record in records}
    assert statuses["LateFusion"] == "finished"
    study = Study(read_spec(file), f"sqlite:///{tmp_path}/runs/sweeps/real/sweep.db", tmp_path)
    states = {trial.user_attrs["config"]["model.class_path"]: trial.state.name for trial in study.trials()}
    assert states["LateFusion"] == "COMPLETE"
    assert (states["TextOnly"], statuses["TextOnly"]) in {("COMPLETE", "finished"), ("PRUNED", "pruned")}


def test_workers_take_their_trials_one_after_another(tmp_path, monkeypatch):
    """Two workers that ask SQLite at the same time could get the same trial, and run it twice."""
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump({"method": "grid", "parameters": {"x": {"values": list(range(4))}}}))
    ask, asking, most = optuna.Study.ask, [], []

    def watched(study):
        asking.append(study)
        most.append(len(asking))
        time.sleep(0.02)
        trial = ask(study)
        asking.pop()
        return trial

    monkeypatch.setattr(optuna.Study, "ask", watched)
    studies = [Study(read_spec(file), f"sqlite:///{tmp_path}/sweep.db", tmp_path / "s") for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda number: studies[number % 2].next(), range(4)))
    assert max(most) == 1
    assert sorted(config["x"] for _, config in taken) == [0, 1, 2, 3]

"""Running a sweep: every trial once, whatever is killed; failures recorded; bad trials stopped.

The trials are `trial.py`, which speaks to the sweep as a training run does; one test runs real trainings.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from helpers.command_line import CONF, FEW, ROOT, SMALL
from optuna.trial import TrialState

from velm_lightning.cli.commands import main
from velm_lightning.errors import InputError
from velm_lightning.sweep.processes import working
from velm_lightning.sweep.spec import read_spec
from velm_lightning.sweep.study import Study
from velm_lightning.sweep.worker import recover, run_record

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
        """The settings of every trial that was begun, however often."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    def make(parameters, **changes):
        made = Sweep(tmp_path, parameters, **changes)
        monkeypatch.setenv("SWEEP_LOG", str(made.log))
        monkeypatch.setenv("VELM_ALLOW", f"{TRIAL},no-such-program")
        return made

    return make


def test_a_grid_runs_every_point_once_and_then_is_over(sweep, capsys):
    one = sweep({"x": {"values": [0.25, 0.5, 0.75]}, "y": {"values": ["a", None]}})
    assert one.run() == 0
    points = [(point["x"], point["y"]) for point in one.started()]
    assert points == [(x, y) for x in (0.25, 0.5, 0.75) for y in ("a", None)]
    assert one.states() == {"COMPLETE": 6}
    assert one.study().optuna.best_value == 0.75
    assert one.run() == 0
    assert len(one.started()) == 6
    shown = capsys.readouterr().out
    assert "0.7500" in shown
    assert "importance" in shown


def test_a_random_sweep_runs_its_cap_whatever_the_workers(sweep):
    one = sweep({"x": {"min": 0.0, "max": 1.0}}, method="random", run_cap=5)
    assert one.run("--workers", "3") == 0
    assert one.states() == {"COMPLETE": 5}
    assert len({point["x"] for point in one.started()}) == 5


@pytest.mark.slow
def test_bayes_goes_where_it_is_good(sweep):
    one = sweep({"x": {"min": 0.0, "max": 1.0}}, method="bayes", run_cap=18)
    assert one.run("--workers", "2") == 0
    xs = [point["x"] for point in one.started()]
    assert sum(xs[-6:]) / 6 > sum(xs[:10]) / 10


def test_bad_trials_are_told_to_stop_and_counted(sweep):
    one = sweep({"x": {"values": [0.9, 0.8, 0.1]}}, early_terminate={"type": "hyperband", "min_iter": 1, "eta": 2})
    assert one.run() == 0
    states = {trial.user_attrs["config"]["x"]: trial.state for trial in one.study().trials()}
    assert states == {0.9: TrialState.COMPLETE, 0.8: TrialState.PRUNED, 0.1: TrialState.PRUNED}
    pruned = next(trial for trial in one.study().trials() if trial.user_attrs["config"]["x"] == 0.1)
    assert list(pruned.intermediate_values.values()) == [0.025]


def test_a_failed_trial_is_recorded_and_not_run_again(sweep, capsys):
    one = sweep({"x": {"value": 0.5}, "mode": {"values": ["fail", ""]}})
    assert one.run() == 0
    assert one.run() == 0
    assert one.states() == {"COMPLETE": 1, "FAIL": 1}
    assert len(one.started()) == 2
    failed = next(trial for trial in one.study().trials() if trial.state == TrialState.FAIL)
    assert failed.user_attrs["error"] == "exit code 1: something is wrong"
    assert f"trial {failed.number} failed: exit code 1: something is wrong" in capsys.readouterr().out


def test_where_every_trial_fails_the_exit_code_is_1(sweep):
    assert sweep({"x": {"value": 0.5}, "mode": {"value": "fail"}}).run() == 1


def test_a_program_that_is_not_there_is_a_failure(sweep):
    one = sweep({"x": {"value": 0.5}}, command=["no-such-program"])
    assert one.run() == 1
    assert "no-such-program: No such file" in one.study().trials()[0].user_attrs["error"]


def test_a_trial_that_was_killed_is_run_again(sweep):
    one = sweep({"x": {"value": 0.5}, "mode": {"value": "die once"}})
    assert one.run() == 0
    assert one.states() == {"COMPLETE": 1}
    assert len(one.started()) == 2


def test_a_trial_that_is_killed_every_time_fails_in_the_end(sweep):
    one = sweep({"x": {"value": 0.5}, "mode": {"value": "die"}})
    assert one.run() == 1
    assert one.states() == {"FAIL": 1}
    assert len(one.started()) == 3


def killed(one, begun):
    """Start the sweep as a process, and kill -9 it as soon as so many trials have begun."""
    command = [sys.executable, "-m", "velm_lightning", *one.words]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(one.started()) >= begun)
    parent.kill()
    parent.wait()


def until(happened):
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_sweep_goes_on_to_its_end_and_ends_its_orphans(sweep):
    """kill -9 of the parent while a trial hangs: its processes are ended, it is run again, and nothing else is."""
    one = sweep({"x": {"value": 0.5}, "mode": {"values": ["", "hang once", "a"]}})
    killed(one, begun=2)
    study = one.study()
    (hanging,) = study.trials(TrialState.RUNNING)
    (orphan,) = working(study.folder_of(hanging))
    assert one.run() == 0
    assert not running(orphan)
    assert one.states() == {"COMPLETE": 3}
    assert Counter(point["mode"] for point in one.started()) == {"": 1, "hang once": 2, "a": 1}


def test_a_trial_that_ends_without_its_sweep_is_not_run_again(sweep):
    one = sweep({"x": {"value": 0.5}, "mode": {"values": ["wait", "a"]}})
    killed(one, begun=1)
    study = one.study()
    (waiting,) = study.trials(TrialState.RUNNING)
    Path(f"{one.log}.go").touch()
    until(lambda: run_record(study.folder_of(waiting)))
    assert one.run() == 0
    assert one.states() == {"COMPLETE": 2}
    assert Counter(point["mode"] for point in one.started()) == {"wait": 1, "a": 1}


@pytest.mark.parametrize("last", ["set_trial_user_attr", "create_new_trial", "set_trial_state_values"])
def test_a_kill_while_a_trial_is_enqueued_again_loses_nothing(sweep, monkeypatch, last):
    """The storage dies after one of its writes of giving a trial up; then the sweep is gone on with."""
    one = sweep({"x": {"values": [0.25, 0.5]}})
    study = one.study()
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
    assert one.run() == 0
    assert one.states() == {"COMPLETE": 2}
    assert sorted(point["x"] for point in one.started()) == [0.25, 0.5]


def test_a_trial_that_was_taken_but_never_signed_is_run_again(sweep, monkeypatch):
    one = sweep({"x": {"values": [0.25, 0.5]}})
    study = one.study()
    study.optuna.ask()  # and then killed
    assert recover(study) == 0, "it may just be about to sign"
    monkeypatch.setattr("velm_lightning.sweep.study.UNSIGNED", timedelta())
    assert one.run() == 0
    assert one.states() == {"COMPLETE": 2}


def test_a_grid_that_was_put_in_line_twice_is_run_once(sweep):
    """Two machines begin a sweep at once, or the first is killed before it has written that it began."""
    one = sweep({"x": {"values": [0.25, 0.5]}})
    study = one.study()
    for point in study.spec.points():
        study.optuna.enqueue_trial({key: json.dumps(value) for key, value in point.items()})
    assert one.run() == 0
    assert one.states() == {"COMPLETE": 2}
    assert [point["x"] for point in one.started()] == [0.25, 0.5]


def running(pid):
    """Whether a process still does anything; one that was killed may wait for its parent to notice."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.02)
    return True


def test_an_interrupt_ends_the_trial_and_puts_it_in_line_again(sweep):
    one = sweep({"x": {"value": 0.5}, "mode": {"value": "hang"}})
    command = [sys.executable, "-m", "velm_lightning", *one.words]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not one.started() and time.monotonic() < end:
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    _, err = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert "the same command continues the sweep" in err
    assert "Traceback" not in err, err
    assert one.states() == {"WAITING": 1}


def test_the_trials_of_a_living_sweep_are_left_alone(sweep):
    study = sweep({"x": {"values": [0.5, 0.6]}}).study()
    study.next()
    assert recover(study) == 0
    assert len(study.trials(TrialState.RUNNING)) == 1


def test_a_sweep_is_not_gone_on_with_by_another(sweep):
    sweep({"x": {"values": [0.5]}}).study()
    with pytest.raises(InputError, match="sweep 'made' was begun with other parameters"):
        sweep({"x": {"values": [0.7]}}).study()


def test_every_model_is_searched_with_the_same_budget(sweep, tmp_path):
    one = sweep({"model": {"values": ["a", "b"]}, "x": {"min": 0.0, "max": 1.0}}, method="random", run_cap=2)
    assert one.run("--per", "model", "--storage", str(tmp_path / "journal.log")) == 0
    assert Counter(point["model"] for point in one.started()) == {"a": 2, "b": 2}


def test_what_mattered_is_told_of_what_was_searched(sweep, capsys):
    one = sweep({"x": {"values": [0.1, 0.3, 0.6, 0.9]}, "other": {"values": ["a", "b"]}, "fixed": {"value": 3}})
    one.run()
    shares = dict(reversed(line.split()[1:]) for line in capsys.readouterr().out.splitlines() if "importance" in line)
    assert shares.keys() == {"x", "other"}
    assert float(shares["x"].rstrip("%")) > float(shares["other"].rstrip("%"))


def test_showing_and_rehearsing_run_nothing(sweep, capsys):
    one = sweep({"x": {"values": [0.5, 0.25]}})
    assert one.run("--dry") == 0
    assert capsys.readouterr().out.count(TRIAL) == 2
    assert one.run("--show") == 1
    assert not one.started()


@pytest.mark.slow
def test_real_trainings_are_searched_and_stopped_early(tmp_path, monkeypatch):
    """Two fusions; the second cannot be better than the first after the first epoch or the other way round."""
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
    found = {record["model"]["class_path"].rpartition(".")[2]: record["status"] for record in records}
    assert found["LateFusion"] == "finished"
    study = Study(read_spec(file), f"sqlite:///{tmp_path}/runs/sweeps/real/sweep.db", tmp_path)
    states = {trial.user_attrs["config"]["model.class_path"]: trial.state.name for trial in study.trials()}
    assert states["LateFusion"] == "COMPLETE"
    assert (states["TextOnly"], found["TextOnly"]) in {("COMPLETE", "finished"), ("PRUNED", "pruned")}

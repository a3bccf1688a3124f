"""The folder of a run: id, record and predictions, with all files written atomically."""

import json
import math
import os
import re
import signal
import stat
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from velm_lightning.io.atomic import write_atomic
from velm_lightning.tracking import watcher
from velm_lightning.tracking.run import Run, now
from velm_lightning.types import InputError, Prediction

ROWS = [
    Prediction("a", "count", "how many?", "zwei", ("zwei", "2"), 1.0, 0.75, 0.25),
    Prediction("b", "", 'a "quote"\nand ünïcode ☃', "no", (), 0.0, 0.5, 1.5),
]


# The folder and its id


def test_a_run_is_stored_under_its_experiment_and_name(tmp_path):
    run = Run.create(tmp_path, "vqa", "latefusion-s0")
    assert run.folder.parent == tmp_path / "vqa"
    assert run.folder.name == run.ident == run.record["id"]
    assert run.ident.startswith("latefusion-s0-")
    assert run.record["experiment"] == "vqa"


def test_opening_a_run_writes_nothing(tmp_path):
    Run.create(tmp_path, "vqa", "x")
    assert not list(tmp_path.iterdir())


def test_two_runs_have_two_ids(tmp_path):
    assert len({Run.create(tmp_path, "vqa", "x").ident for _ in range(5)}) == 5


def test_an_id_in_use_is_drawn_again(tmp_path, monkeypatch):
    drawn = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr("secrets.token_hex", lambda count: next(drawn))
    Run.create(tmp_path, "vqa", "x").update(status="finished")
    assert Run.create(tmp_path, "vqa", "x").ident == "x-bbbbbb"


def test_a_launched_process_finds_the_run_of_its_launcher(tmp_path):
    first = Run.create(tmp_path, "vqa", "x")
    ask = "from velm_lightning.tracking.run import Run; print(Run.of_launcher().folder, Run.of_launcher().ident)"
    with first.handed_down():
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(first.folder), first.ident]


def test_a_run_is_passed_to_child_processes_only(tmp_path, monkeypatch):
    first = Run.create(tmp_path, "vqa", "x")
    with first.handed_down():
        assert Run.of_launcher() is None, "the launcher itself, which may start a second run"
        left = os.environ["VELM_RUN_ID"]
    assert "VELM_RUN_ID" not in os.environ
    for value in (left, "mine", "", f"{os.getppid()}:"):  # left in a shell, or exported by a user
        monkeypatch.setenv("VELM_RUN_ID", value)
        assert Run.of_launcher() is None


def test_ranks_with_different_ids_agree_on_one(tmp_path):
    first, other = (Run.create(tmp_path, "vqa", "x") for _ in range(2))
    first.update(seed=3)
    other.move_to(first.folder)
    assert (other.folder, other.ident, other.record["seed"]) == (first.folder, first.ident, 3)


def test_several_processes_can_share_a_lock(tmp_path):
    first, second, third = (Run(tmp_path) for _ in range(3))
    assert first.claim(shared=True)
    assert second.claim(shared=True)
    assert not third.claim()
    first.release()
    second.release()
    assert third.claim()
    assert not first.claim(shared=True)
    third.release()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "/tmp", "a\0b"])
def test_an_experiment_is_one_folder_name(tmp_path, name):
    with pytest.raises(InputError, match=re.escape(f"tracking.experiment is {name!r}: give one folder name")):
        Run.create(tmp_path, name, "x")


def test_the_run_of_a_checkpoint_is_found(tmp_path):
    run = Run.create(tmp_path, "vqa", "x")
    run.update(seed=3)
    reopened = Run.of_checkpoint(run.folder / "checkpoints" / "best.ckpt")
    assert reopened is not None
    assert (reopened.folder.resolve(), reopened.record["seed"]) == (run.folder.resolve(), 3)
    assert Run.of_checkpoint(tmp_path / "elsewhere" / "model.ckpt") is None


# The record


def test_the_record_is_kept_in_run_json(tmp_path):
    run = Run.create(tmp_path, "vqa", "x")
    run.update(status="running", seed=1)
    run.update(status="finished", folder=Path("some/where"))
    written = json.loads((run.folder / "run.json").read_text())
    assert written == {
        "id": run.ident,
        "experiment": "vqa",
        "status": "finished",
        "seed": 1,
        "folder": "some/where",
    }
    assert Run(run.folder).record == written


ODD = [("scores", []), ("data", 3), ("starts", {}), ("minutes", "x"), ("id", 1), ("checkpoint", 2), ("timed", "")]


@pytest.mark.parametrize(("name", "value"), ODD)
def test_a_record_of_other_types_is_refused_by_name(tmp_path, name, value):
    (tmp_path / "run.json").write_text(json.dumps({name: value}))
    with pytest.raises(InputError, match=rf"run\.json: {name} is .*, no \w+: fix it, or remove the run"):
        Run(tmp_path)


def test_a_field_that_is_null_is_none(tmp_path):
    """As ``data`` is in imported predictions, if the run that they are imported like has none."""
    (tmp_path / "run.json").write_text('{"data": null, "signature": null}')
    assert Run(tmp_path).record == {"signature": None}


def test_a_record_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(InputError, match=r"run\.json is not a regular file"):
        Run(tmp_path)


def test_the_best_checkpoint_is_in_the_folder(tmp_path):
    (tmp_path / "run.json").write_text('{"checkpoint": "../../../elsewhere/other.ckpt"}')
    assert Run(tmp_path).best == tmp_path / "checkpoints" / "other.ckpt"


def test_a_config_that_is_no_text_is_not_that_of_a_run(tmp_path):
    run = Run.create(tmp_path, "vqa", "x")
    run.update(status="failed")
    (run.folder / "config.yaml").write_bytes(b"\xff\xfe\xff")
    assert Run.unfinished(tmp_path, "vqa", "a: 1") is None
    (run.folder / "config.yaml").unlink()
    os.mkfifo(run.folder / "config.yaml")
    assert Run.unfinished(tmp_path, "vqa", "a: 1") is None


def test_nothing_is_written_where_a_link_leads(tmp_path):
    run = Run(tmp_path / "run")
    (tmp_path / "precious").mkdir()
    run.folder.mkdir()
    (run.folder / "predictions").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="run/predictions is a link that leads out of the run"):
        run.write_predictions("val", ROWS)
    assert list((tmp_path / "precious").iterdir()) == []


def test_a_record_that_cannot_be_written_keeps_its_status(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    run = Run(tmp_path)
    run.update(status="running")
    for module in ("velm_lightning.io.atomic.os", "velm_lightning.tracking.watcher.os"):
        monkeypatch.setattr(f"{module}.replace", full)
    with pytest.raises(InputError, match=r"run\.json cannot be written: No space left on device; the previous file"):
        run.mark("failed")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO()))  # closed: the process of the run has died
    watcher.main(str(tmp_path / "run.json"))
    assert Run(tmp_path).record["status"] == "running"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


# Predictions


def test_predictions_are_one_json_line_per_sample(tmp_path):
    path = Run(tmp_path).write_predictions("val", ROWS)
    assert path == tmp_path / "predictions" / "val.jsonl"
    lines = path.read_text("utf-8").splitlines()
    assert [Prediction(**json.loads(line)) for line in lines] == [
        r._replace(references=list(r.references)) for r in ROWS
    ]
    assert "☃" in lines[1]


def test_predictions_of_an_earlier_evaluation_are_replaced(tmp_path):
    run = Run(tmp_path)
    run.write_predictions("val", ROWS)
    path = run.write_predictions("val", ROWS[:1])
    assert len(path.read_text("utf-8").splitlines()) == 1


def test_nan_is_null_in_json(tmp_path):
    path = Run(tmp_path).write_predictions("test", [ROWS[0]._replace(loss=math.nan)])
    assert json.loads(path.read_text()) == ROWS[0]._asdict() | {"loss": None, "references": ["zwei", "2"]}


# Files


def test_a_file_is_replaced_atomically(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_atomic(path, "first")
    opened = path.open()
    write_atomic(path, "second, and longer")
    assert opened.read() == "first", "an open handle still reads the old file"
    opened.close()
    assert path.read_text() == "second, and longer"


def test_no_temporary_file_is_left(tmp_path):
    write_atomic(tmp_path / "file.txt", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_other_users_can_read_the_file(tmp_path):
    write_atomic(tmp_path / "file.txt", "text")
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o644


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file stands in the way")
    with pytest.raises(InputError, match=r"runs/x/run\.json cannot be written: (Not a directory|File exists)"):
        write_atomic(tmp_path / "runs" / "x" / "run.json", "text")


def test_a_time_is_utc_to_the_second():
    assert len(now()) == len("2026-01-31T12:00:00+00:00")
    assert now().endswith("+00:00")


# Forked children, as loader processes are


@pytest.fixture
def forked():
    """A function that forks a child which outlives the test's steps, and returns its id."""
    children = []

    def fork():
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
        return child

    yield fork
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_holds_neither_lock_nor_watcher(tmp_path, forked, monkeypatch):
    monkeypatch.setattr("velm_lightning.tracking.run.PATIENCE", 60)
    run = Run.create(tmp_path, "vqa", "x")
    run.update(status="running")
    assert run.claim()
    run.watch()
    watcher = run._watcher
    forked()
    run.release()
    assert watcher.returncode == 0
    assert Run(run.folder).record["status"] == "failed"
    other = Run(run.folder)
    assert other.claim()
    other.release()


def test_a_watcher_that_does_not_end_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("velm_lightning.tracking.run.PATIENCE", 0.1)
    run = Run.create(tmp_path, "vqa", "x")
    run.update(status="finished")
    run.watch()
    watcher = run._watcher
    os.kill(watcher.pid, signal.SIGSTOP)
    run.release()
    assert watcher.returncode == -signal.SIGKILL

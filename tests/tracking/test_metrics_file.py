"""``metrics.csv`` has one row per step and one column per metric, and no step twice after resuming."""

import csv
import os

import pytest

from velm_lightning.errors import InputError
from velm_lightning.tracking import metrics_file
from velm_lightning.tracking.metrics_file import MetricsFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "metrics.csv"


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test advances."""
    now = [1000.0]
    monkeypatch.setattr(metrics_file.time, "monotonic", lambda: now[0])
    return now


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_of_one_step_are_one_row(path):
    log = MetricsFile(path)
    log.log_metrics({"train/loss": 0.5, "epoch": 0}, step=10)
    log.log_metrics({"val/score": 0.25}, step=10)
    log.log_metrics({"train/loss": 0.125}, step=20)
    log.flush()
    assert read(path) == [
        {"step": "10", "train/loss": "0.5", "epoch": "0", "val/score": "0.25"},
        {"step": "20", "train/loss": "0.125", "epoch": "", "val/score": ""},
    ]


def test_rows_are_sorted_by_step(path):
    log = MetricsFile(path)
    for step in (20, 3, 100):
        log.log_metrics({"x": step}, step=step)
    log.flush()
    assert [row["step"] for row in read(path)] == ["3", "20", "100"]


def test_a_figure_keeps_every_digit(path):
    value = 0.1 + 0.2
    log = MetricsFile(path)
    log.log_metrics({"x": value}, step=1)
    log.flush()
    assert float(read(path)[0]["x"]) == value


def test_metrics_without_a_step_belong_to_step_0(path):
    log = MetricsFile(path)
    log.log_metrics({"x": 1})
    log.flush()
    assert read(path) == [{"step": "0", "x": "1"}]


def test_no_file_is_written_if_nothing_was_logged(path):
    log = MetricsFile(path)
    log.save()
    log.flush()
    log.finalize("success")
    assert not path.exists()


def test_saving_at_every_step_writes_every_5_seconds(path, clock):
    log = MetricsFile(path)
    for step in range(10):
        log.log_metrics({"x": step}, step=step)
        log.save()
        clock[0] += 1
    assert len(read(path)) == 7, "written at 0 and at 6 seconds"


def test_the_end_of_a_run_writes_the_remaining_rows(path, clock):
    log = MetricsFile(path)
    for step in range(10):
        log.log_metrics({"x": step}, step=step)
        log.save()
    log.finalize("failed")
    assert len(read(path)) == 10


def test_a_resumed_run_keeps_the_rows_before_its_step(path):
    first = MetricsFile(path)
    for step in (10, 20, 30):
        first.log_metrics({"loss": step / 10, "old": step}, step=step)
    first.flush()
    second = MetricsFile(path)
    second.resume(20)
    second.log_metrics({"loss": 7.0, "new": 1}, step=20)
    second.flush()
    assert read(path) == [
        {"step": "10", "loss": "1.0", "old": "10", "new": ""},
        {"step": "20", "loss": "7.0", "old": "", "new": "1"},
    ]


def test_resuming_without_a_file_starts_a_new_one(path):
    log = MetricsFile(path)
    log.resume(20)
    assert log.rows == {}


def test_hyperparameters_are_not_written(path):
    log = MetricsFile(path)
    log.log_hyperparams({"x": 1})
    log.finalize("success")
    assert not path.exists()


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"step,a\nx,2\n", b"step,a\n1,2,3\n", b'step\n"1', b"\xff", b"step,a\n\n,"]
)
def test_damaged_metrics_of_a_resumed_run_are_named(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.csv: "):
        MetricsFile(path).resume(10)


def test_metrics_that_are_a_pipe_are_named(path):
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"metrics\.csv is not a regular file"):
        MetricsFile(path).resume(10)

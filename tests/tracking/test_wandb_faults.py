"""If W&B fails, hangs or disappears, a run does not wait for it, computes the same and loses no data."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import faults
from helpers.resuming import WORDS, only_run
from helpers.stub_server import KEY, Stub
from helpers.wandb_server import WandbServer, values, wandb

from velm_lightning.tracking import settings

ONLINE = [*WORDS, "--tracking.wandb=online", "--tracking.pictures=0", "--trainer.max_epochs=1"]


@pytest.fixture(scope="module")
def without(tmp_path_factory, here_in):
    """The weights of a run without W&B."""
    folder = tmp_path_factory.mktemp("without")
    assert here_in(folder, *WORDS, "--trainer.max_epochs=1") == 0
    return only_run(folder).weights()


@pytest.fixture
def server(monkeypatch):
    stub = Stub()
    for name, value in (("WANDB_BASE_URL", stub.url), ("WANDB_API_KEY", KEY), ("WANDB_ERROR_REPORTING", "false")):
        monkeypatch.setenv(name, value)
    yield stub
    stub.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(settings, "START", 2)
    monkeypatch.setattr(settings, "END", 2)


def finished(folder, without):
    left = only_run(folder)
    assert left.record["status"] == "finished"
    assert all(torch.equal(weight, without[name]) for name, weight in left.weights().items())
    assert left.predictions().keys() >= {"val.jsonl", "test.jsonl"}
    return left


def test_a_run_is_logged_under_its_id(server, here, tmp_path, without):
    assert here(*ONLINE) == 0
    left = finished(tmp_path, without)
    assert any(f"/{left.record['id']}/file_stream" in path for path, _ in server.asked)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["error", "hang", "refuse"])
def test_a_run_does_not_wait_for_a_dead_server(server, here, capsys, tmp_path, without, fault):
    server.fault = fault
    if fault == "refuse":
        server.close()
    begun = time.monotonic()
    assert here(*ONLINE) == 0
    assert time.monotonic() - begun < 60
    left = finished(tmp_path, without)
    printed = capsys.readouterr().out
    assert "W&B cannot be reached: " in printed
    assert f"W&B is recorded offline; later: for run in {left.folder.relative_to(tmp_path)}/wandb/*run-*; do" in printed
    assert list(left.folder.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["error", "hang"])
def test_all_data_is_on_disk_if_the_server_disappears(server, here, capsys, monkeypatch, tmp_path, without, fault):
    monkeypatch.setattr(faults, "HAPPENING", lambda: setattr(server, "fault", fault))
    assert here(*ONLINE, "--trainer.callbacks+=helpers.faults.Happening", "--trainer.callbacks.step=2") == 0
    left = finished(tmp_path, without)
    assert "W&B has not received all data of this run" in capsys.readouterr().out
    (offline_run,) = left.folder.glob("wandb/run-*")
    later = WandbServer()
    synced = wandb("sync", "--include-online", offline_run, cwd=tmp_path, **later.environment)
    later.close()
    assert synced.returncode == 0, synced.stderr
    (run,) = later.runs.values()
    assert values(run, "test/score") == [left.record["scores"]["test"]["score"]]


KILLED = """
import os, sys, time, wandb
settings = wandb.Settings(x_transaction_log_flush_interval=float(sys.argv[2]), silent=True, disable_git=True)
run = wandb.init(mode="offline", dir="some runs/x", id="x", project="vqa", settings=settings)
run.log({"train/loss": 0.5})
time.sleep(float(sys.argv[1]))
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_the_printed_command_sends_what_a_killed_run_has_written(tmp_path):
    """The folder has a space in its name, and an earlier start was killed before W&B wrote anything."""
    (tmp_path / "some runs" / "x").mkdir(parents=True)
    interval = settings._settings().x_transaction_log_flush_interval
    for seconds, every in ((0, 0), (5 * interval, interval)):  # 0 writes only a full buffer
        words = [sys.executable, "-c", KILLED, str(seconds), str(every)]
        subprocess.run(words, cwd=tmp_path, stdout=subprocess.DEVNULL, timeout=300, check=False)
    sizes = sorted(path.stat().st_size for path in tmp_path.glob("some runs/x/wandb/*/*.wandb"))
    assert sizes[0] == 7 < sizes[1]
    command = settings.later(Path("some runs/x")).removeprefix("later: ")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "wandb").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wandb "$@"\n')
    (tmp_path / "bin" / "wandb").chmod(0o755)
    server = WandbServer()
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | server.environment | {"PATH": path}
    subprocess.run(command, shell=True, cwd=tmp_path, env=environment, timeout=300, check=False)
    server.close()
    assert values(server.runs["x"], "train/loss") == [0.5]


def test_the_timeouts_are_short():
    assert settings.START < 15
    assert "wandb" in sys.modules

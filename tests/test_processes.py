"""A run of two processes ends as one, whatever happens to one of them, and goes on as one: real signals and deaths."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from command_line import ROOT
from test_resume import WORDS, fault, only_run, same

pytestmark = pytest.mark.slow

TWO = [*map(str, WORDS), "--trainer.devices=2", "--trainer.strategy=ddp", "--save_every_n_steps=2"]
SLOW = ["--trainer.callbacks+=faults.Slow", "--trainer.callbacks.seconds=0.5"]


class Started:
    """``velm`` in a process group of its own, its output in a file."""

    def __init__(self, folder, *words):
        self.folder, self.log = folder, folder / "log"
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "velm_lightning", *map(str, words)],
                cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def pids(self):
        """The processes of the run by their rank, once both train."""
        while len(found := re.findall(r"pid (\d+) rank (\d)", self.log.read_text())) < 2:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        time.sleep(1)
        return {int(rank): int(pid) for pid, rank in found}

    def end(self, within):
        """The exit code, and how the record says that it ended; all processes of the run are gone."""
        pids = [int(pid) for pid in re.findall(r"pid (\d+) rank", self.log.read_text())]
        code = self.process.wait(within)
        until = time.monotonic() + within
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < until, "processes are left"
            time.sleep(0.1)
        return code, only_run(self.folder).record["status"]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_the_mark(folder):
    """Nobody of the run is left to mark it, so it takes a moment."""
    until = time.monotonic() + 20
    while only_run(folder).record["status"] != "failed":
        assert time.monotonic() < until
        time.sleep(0.1)


def last(folder):
    return torch.load(only_run(folder).folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two processes that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    started = Started(folder, *TWO)
    assert started.process.wait(300) == 0, started.log.read_text()
    return only_run(folder)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_process_ends_both_and_is_printed(tmp_path, rank):
    started = Started(tmp_path, *TWO, *fault("Crash", step=5, rank=rank))
    assert started.process.wait(300) == 1
    assert started.end(within=60) == (1, "failed")
    assert "ArithmeticError: a mistake in somebody's code" in started.log.read_text()
    assert last(tmp_path) == 4


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_takes_the_other_with_it(tmp_path, rank):
    started = Started(tmp_path, *TWO, *SLOW)
    os.kill(started.pids()[rank], signal.SIGKILL)
    code, status = started.end(within=60)
    assert (code != 0, status) == (True, "failed")


@pytest.mark.parametrize(("rank", "name"), [(0, "TERM"), (1, "TERM"), (1, "INT")])
def test_a_signal_to_any_process_stops_both_after_the_batch_and_the_run_goes_on(whole, tmp_path, rank, name):
    started = Started(tmp_path, *TWO, *SLOW)
    os.kill(started.pids()[rank], signal.Signals[f"SIG{name}"])
    code, status = started.end(within=60)
    assert (code in (128 + 15, 128 + 2), status) == (True, "interrupted")
    left = only_run(tmp_path)
    assert last(tmp_path) == left.record["steps"] > 0
    if name == "INT":
        config = left.folder / "config.yaml"
        resumed = Started(
            tmp_path, "fit", "--config", config, "--trainer.callbacks=null", "--allow=faults", "--ckpt_path=last"
        )
        assert resumed.process.wait(300) == 0, resumed.log.read_text()
        same(left, whole)


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    started = Started(tmp_path, *TWO, "--trainer.callbacks+=faults.Slow", "--trainer.callbacks.seconds=20")
    started.pids()
    for _ in range(2):
        os.killpg(started.process.pid, signal.SIGINT)
        time.sleep(0.5)
    code, status = started.end(within=10)
    assert (code != 0, status) == (True, "interrupted")


def test_a_process_alone_is_killed_and_its_run_can_be_gone_on_with(tmp_path):
    done = Started(tmp_path, *WORDS, "--save_every_n_steps=2", *fault("Signal", step=5))
    assert done.process.wait(300) == -signal.SIGKILL
    assert last(tmp_path) == 4
    wait_for_the_mark(tmp_path)
    assert only_run(tmp_path).record["steps"] == 4


def test_both_processes_killed_at_once_leave_a_failed_run(tmp_path):
    started = Started(tmp_path, *TWO, *SLOW)
    for pid in started.pids().values():
        os.kill(pid, signal.SIGKILL)
    started.process.wait(10)
    wait_for_the_mark(tmp_path)

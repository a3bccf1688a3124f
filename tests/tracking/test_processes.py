"""Both processes of a run end together on real signals, errors and deaths, and the run resumes."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers.command_line import ROOT
from helpers.resuming import WORDS, fault, only_run, same, wait_for_the_mark

from velm_lightning.tracking.run import Run

pytestmark = pytest.mark.slow

TWO = [*map(str, WORDS), "--trainer.devices=2", "--trainer.strategy=ddp", "--save_every_n_steps=2"]
SLOW = ["--trainer.callbacks+=helpers.faults.Slow", "--trainer.callbacks.seconds=0.5"]


class Started:
    """``velm`` in a separate process group, with its output in a file."""

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

    def pids(self, count=2):
        """Return the processes of the run by rank as soon as all train."""
        while len(found := re.findall(r"pid (\d+) rank (\d)", self.log.read_text())) < count:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        time.sleep(1)
        return {int(rank): int(pid) for pid, rank in found}

    def end(self, within):
        """Return the exit code and the status of the record after all processes of the run have exited."""
        pids = [int(pid) for pid in re.findall(r"pid (\d+) rank", self.log.read_text())]
        code = self.process.wait(within)
        until = time.monotonic() + within
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < until, "processes of the run are still alive"
            time.sleep(0.1)
        return code, only_run(self.folder).record["status"]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def last(folder):
    return torch.load(only_run(folder).folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of two processes."""
    folder = tmp_path_factory.mktemp("whole")
    started = Started(folder, *TWO)
    assert started.process.wait(300) == 0, started.log.read_text()
    assert (
        "3 steps of 8 samples over 2 processes per epoch; 2 of the 26 samples are left out" in started.log.read_text()
    )
    return only_run(folder)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_process_ends_both_and_is_printed(tmp_path, rank):
    started = Started(tmp_path, *TWO, *fault("Crash", step=5, rank=rank))
    assert started.process.wait(300) == 1
    assert started.end(within=60) == (1, "failed")
    assert "ArithmeticError: a mistake in user code" in started.log.read_text()
    assert last(tmp_path) == 4


@pytest.mark.parametrize("rank", [0, 1])
def test_both_processes_end_if_one_is_killed(tmp_path, rank):
    started = Started(tmp_path, *TWO, *SLOW)
    os.kill(started.pids()[rank], signal.SIGKILL)
    code, status = started.end(within=60)
    assert (code != 0, status) == (True, "failed")


@pytest.mark.parametrize(("rank", "name"), [(0, "TERM"), (1, "TERM"), (1, "INT")])
def test_a_signal_to_one_process_stops_both_after_the_batch(tmp_path, rank, name):
    started = Started(tmp_path, *TWO, *SLOW)
    os.kill(started.pids()[rank], signal.Signals[f"SIG{name}"])
    code, status = started.end(within=60)
    assert (code, status) == (128 + signal.Signals[f"SIG{name}"], "interrupted")
    left = only_run(tmp_path)
    assert last(tmp_path) == left.record["steps"] > 0


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    started = Started(tmp_path, *TWO, "--trainer.callbacks+=helpers.faults.Slow", "--trainer.callbacks.seconds=20")
    started.pids()
    for _ in range(2):
        os.killpg(started.process.pid, signal.SIGINT)
        time.sleep(0.5)
    code, status = started.end(within=10)
    assert (code != 0, status) == (True, "interrupted")


def test_a_run_resumes_after_both_processes_were_killed(whole, tmp_path):
    words = [*TWO, "--resume=auto", "--trainer.callbacks+=helpers.faults.Slow", "--trainer.callbacks.seconds=0.25"]
    started = Started(tmp_path, *words)
    pids = started.pids()
    while not list(tmp_path.glob("runs/vqa/*/checkpoints/last.ckpt")):  # a busy machine takes seconds for a step
        assert started.process.poll() is None, started.log.read_text()
        time.sleep(0.1)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    wait_for_the_mark(tmp_path)
    assert started.end(within=10) == (-signal.SIGKILL, "failed")
    step = last(tmp_path)
    resumed = Started(tmp_path, *words)
    assert resumed.process.wait(300) == 0, resumed.log.read_text()
    (found,) = re.findall(r"continuing after step (\d+) ", resumed.log.read_text())
    assert int(found) >= step  # best.ckpt is newer if the signal came between the two writes
    same(only_run(tmp_path), whole)


# Loader processes

WORKERS = [*map(str, WORDS), "--data.num_workers=2", "--save_every_n_steps=1", "--resume=auto", *SLOW]


@pytest.mark.parametrize("to", ["all", "one"])
def test_sigterm_to_a_run_with_loader_processes_interrupts_it(tmp_path, to):
    started = Started(tmp_path, *WORKERS)
    started.pids(1)
    (os.killpg if to == "all" else os.kill)(started.process.pid, signal.SIGTERM)
    assert started.end(within=60) == (128 + 15, "interrupted")
    assert last(tmp_path) == only_run(tmp_path).record["steps"] > 0


def test_a_killed_run_with_loader_processes_resumes_at_once(tmp_path):
    started = Started(tmp_path, *WORKERS)
    started.pids(1)
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.wait()
    left = only_run(tmp_path)
    other = Run(left.folder)
    assert other.claim(), "the loader processes, which end within 5 seconds, do not hold the lock"
    other.release()
    resumed = Started(tmp_path, *WORKERS)
    assert resumed.process.wait(300) == 0, resumed.log.read_text()
    assert "continuing after step" in resumed.log.read_text()
    assert only_run(tmp_path).record["id"] == left.record["id"]


def test_a_nan_loss_in_one_process_stops_both(tmp_path):
    started = Started(tmp_path, *TWO, *fault("Poison", step=2, rank=1))
    assert started.process.wait(300) == 2
    assert started.end(within=60) == (2, "failed")
    told = started.log.read_text()
    assert "the loss of step 2 is not finite: nan of train-" in told
    assert "Traceback" not in told

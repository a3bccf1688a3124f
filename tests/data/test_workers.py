"""Loader processes share their parent's samples, and end when it says so, not at a signal to all processes of a job."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

import velm_lightning as velm
from velm_lightning.data import workers
from velm_lightning.types import ImageTransform

WORKER = f"""
import runpy, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(1))  # as the parent, whose handlers a forked worker has
runpy.run_path({workers.__file__!r})["leave_signals_to_parent"]()
print("ready", flush=True)
sys.stdin.read()
sys.exit(7)
"""


def test_a_worker_ignores_signals_that_its_parent_did_not_send():
    with subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        for name in ("TERM", "INT", "HUP", "USR1"):
            subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
        worker.stdin.close()
        assert worker.wait() == 7


def test_a_worker_ends_when_its_parent_says_so():
    with subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait() == 0


@pytest.fixture
def start_with():
    default = multiprocessing.get_start_method()
    yield lambda method: multiprocessing.set_start_method(method, force=True)
    multiprocessing.set_start_method(default, force=True)


@pytest.fixture
def data():
    data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16), batch_size=4, num_workers=1)
    data.transform = ImageTransform(16)
    data.setup("fit")
    return data


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can always share the memory of a process")
def test_workers_share_the_samples_where_new_processes_do_not_by_default(start_with, data):
    start_with("forkserver")  # the default of Python 3.14
    loader = data.train_dataloader()
    loader.dataset.unpicklable = lambda: None
    assert sum(len(batch.image) for batch in loader) == len(data.samples("train"))


def test_a_program_that_has_chosen_spawn_keeps_it(start_with, data):
    """As one must whose dataset does not survive a fork."""
    start_with("spawn")
    assert data.train_dataloader().multiprocessing_context is None

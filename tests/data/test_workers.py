"""Loader processes end when their parent says so, not when a signal reaches all processes of a job."""

import os
import signal
import subprocess
import sys

from velm_lightning.data import workers

WORKER = f"""
import runpy, sys
runpy.run_path({workers.__file__!r})["leave_signals_to_parent"]()
print("ready", flush=True)
sys.stdin.read()
sys.exit(7)
"""


def test_a_worker_ignores_signals_that_its_parent_did_not_send():
    with subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        for name in ("TERM", "INT"):
            subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
        worker.stdin.close()
        assert worker.wait() == 7


def test_a_worker_ends_when_its_parent_says_so():
    with subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait() == 0

"""Every checkpoint of a run continues it bit for bit: weights, order of samples, evaluations, labels and stops.

A run writes a checkpoint after each micro-batch, before and after each evaluation, and at each end of an epoch, with
the state that ``kill -9`` leaves there.
"""

import os
import subprocess
import sys

import pytest
from helpers import resumption
from helpers.command_line import ROOT
from helpers.resumption import BATCHES, CASES, check

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(isinstance.treespec|many workers|exists and is not empty|not resumable|multi-threaded|will create)",
    "ignore:.*(could not find the monitored key|smaller than the logging interval)",
)
LIMITS = {
    "epochs": {"max_epochs": 2},
    "steps at the end of an epoch": {"max_steps": 6},
    "steps before it": {"max_steps": 5},
    "steps after it": {"max_steps": 7},
    "time": {"seconds": 7},
}
EVALUATIONS = {
    "every epoch": {},
    "every second epoch": {"check_val_every_n_epoch": 2},
    "every 2 batches": {"val_check_interval": 2},
    "every 3 batches": {"val_check_interval": 3},
    "every 3 batches of all epochs": {"val_check_interval": 3, "check_val_every_n_epoch": None},
}


def test_max_steps_resumes_before_at_and_after_an_epochs_end(tmp_path):
    """After the batch, which is still to be evaluated, after the epoch, and after the next batch."""
    assert check(tmp_path, f"*-often-[{BATCHES}{BATCHES + 1}].ckpt", max_steps=BATCHES + 3) == ({}, 3)


def test_the_batches_of_all_epochs_are_counted_on(tmp_path):
    settings = {"val_check_interval": 3, "check_val_every_n_epoch": None}
    assert check(tmp_path, "*-often-5.ckpt", max_steps=7, **settings) == ({}, 2)


def test_an_optimiser_step_is_repeated_from_its_start(tmp_path):
    assert check(tmp_path, "*-often-1.ckpt", max_steps=3, accumulate_grad_batches=3) == ({}, 1)


def test_the_time_of_a_repeated_optimiser_step_does_not_count(tmp_path):
    """Within the first step, and within the one that waits for its end after the time is over."""
    assert check(tmp_path, "*-often-[02].ckpt", seconds=7, accumulate_grad_batches=3) == ({}, 3)


def test_a_run_that_early_stopping_ended_trains_no_further(tmp_path):
    """Before the evaluation that ends it, and after it."""
    assert check(tmp_path, "*-often-10.ckpt", max_epochs=6, patience=1) == ({}, 2)


@pytest.mark.slow
def test_loader_processes_resume_a_run_with_max_steps(tmp_path):
    assert check(tmp_path, "*-often-[4-6].ckpt", max_steps=8, val_check_interval=2, workers=2)[0] == {}


@pytest.mark.slow
def test_two_processes_resume_from_every_checkpoint(tmp_path):
    words = [sys.executable, resumption.__file__, tmp_path]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        words, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if "checkpoints" in line]
    assert len(told) == len(CASES)
    assert all(", 0 differ: {}" in line for line in told), told


@pytest.mark.exhaustive
@pytest.mark.parametrize("accumulated", [1, 2, 3])
@pytest.mark.parametrize("evaluations", EVALUATIONS.values(), ids=EVALUATIONS)
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_every_checkpoint_continues_the_run(tmp_path, limit, evaluations, accumulated):
    if "max_steps" in limit:  # the same ends of epochs, in optimiser steps
        limit = {"max_steps": limit["max_steps"] - 6 + 2 * -(-BATCHES // accumulated)}
    wrong, count = check(tmp_path, **limit, **evaluations, accumulate_grad_batches=accumulated)
    assert not wrong
    assert count > 4

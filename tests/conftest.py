"""Every test starts from the same random state, on one thread, apart from the user's own folders and logins."""

import os
import signal
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is ever downloaded here

import pytest
import torch
from helpers import tiny
from hypothesis import settings

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so shells start what runs in their background
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """No test sees another's random numbers, run id or cache, nor the logins of whoever runs the tests."""
    torch.manual_seed(0)
    for name in ("VELM_RUN_ID", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.setenv(name, "")  # remembered, so that what the test sets is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def vocabulary():
    return tiny.vocabulary()


@pytest.fixture
def batch(vocabulary):
    """Three questions of different lengths, each about its own picture, with answers."""
    return tiny.batch(tiny.questions(), vocabulary)


@pytest.fixture
def sentences(vocabulary):
    """Three prompts (one of them empty) of different lengths, with a sentence to produce for each."""
    return tiny.batch(tiny.translations(), vocabulary)


@pytest.fixture(scope="session")
def here_in(tmp_path_factory):
    """Run a command in this process, in a folder; returns the exit code."""
    from velm_lightning.cli.commands import main

    def run(folder, *words):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["velm"])  # Lightning warns of words given twice
            for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
                patch.setenv(name, "0")  # the command line sets them, and the test takes them back
            patch.setenv("NETRC", os.devnull)
            patch.setenv("VELM_RUN_ID", "")
            patch.delenv("VELM_RUN_ID")
            return main([str(word) for word in words])

    return run


@pytest.fixture
def here(here_in, tmp_path):
    """Run a command in this process, in a folder of its own; returns the exit code."""
    return lambda *words: here_in(tmp_path, *words)

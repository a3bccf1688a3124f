"""Shared fixtures; every test has the same random state, one thread, and none of the user's folders and logins."""

import os
import signal
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"  # tests never download anything
os.environ["VELM_ALLOW"] = "helpers"  # commands may name the tests' own classes

import pytest
import torch
from helpers import tiny
from hypothesis import settings

from velm_lightning.io.console import log_to_console

log_to_console()
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # shells ignore SIGINT in background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """Isolate the random state, run id and cache of each test, and hide the user's logins and weights."""
    torch.manual_seed(0)
    for name in ("VELM_RUN_ID", "VELM_ALLOW_NETWORK", "WANDB_API_KEY", "WANDB_MODE", "TORCH_HOME"):
        monkeypatch.setenv(name, "")  # recorded, so that monkeypatch removes values that the test sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))


@pytest.fixture
def vocabulary():
    return tiny.vocabulary()


@pytest.fixture
def batch(vocabulary):
    """Three questions of different lengths, each about its own image, with answers."""
    return tiny.batch(tiny.questions(), vocabulary)


@pytest.fixture
def sentences(vocabulary):
    """Three prompts of different lengths (one is empty), with a target sentence each."""
    return tiny.batch(tiny.translations(), vocabulary)


@pytest.fixture(scope="session")
def here_in(tmp_path_factory):
    """A function that runs a command in this process, in a given folder, and returns the exit code."""
    from velm_lightning.cli.commands import main

    def run(folder, *words):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["velm"])  # Lightning warns if arguments are also in sys.argv
            for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
                patch.setenv(name, "0")  # the command line sets them, and monkeypatch restores them
            patch.setenv("NETRC", os.devnull)
            patch.setenv("VELM_RUN_ID", "")
            patch.delenv("VELM_RUN_ID")
            return main([str(word) for word in words])

    return run


@pytest.fixture
def here(here_in, tmp_path):
    """A function that runs a command in this process, in ``tmp_path``, and returns the exit code."""
    return lambda *words: here_in(tmp_path, *words)

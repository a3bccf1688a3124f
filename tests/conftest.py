"""Every test starts from the same random state, on one thread, apart from the user's own folders and logins."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is ever downloaded here

import pytest
import tiny
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """No test sees another's random numbers, run id or cache, nor the logins of whoever runs the tests."""
    torch.manual_seed(0)
    for name in ("VELM_RUN_ID", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
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

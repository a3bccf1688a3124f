"""A model of a wrong size is refused before its memory is used."""

import pytest
from torch import nn

from velm_lightning.errors import InputError
from velm_lightning.nn.size_limit import machine_memory, size_limit


def test_a_model_within_the_limit_is_built():
    with size_limit(440, "the test", entries=2):
        nn.Linear(10, 10)


def test_too_many_weights_are_refused_before_they_are_initialised(monkeypatch):
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda self: pytest.fail("the memory is used"))
    with size_limit(1000, "the test"), pytest.raises(InputError, match=r"needs more than 1,000 bytes, .* the test: "):
        nn.Linear(2**10, 2**10)


def test_too_many_layers_are_refused():
    with size_limit(10**9, "the test", entries=1000), pytest.raises(InputError, match=r"has more than 1,000 layers"):
        nn.Sequential(*(nn.Linear(1, 1) for _ in range(10**9)))


def test_nothing_is_limited_after_the_block():
    with size_limit(0, "the test"):
        pass
    nn.Linear(10, 10)


def test_the_memory_of_the_machine_is_a_limit():
    assert 2**28 < machine_memory() < 2**50

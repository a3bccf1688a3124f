"""Reuse of freed memory: page faults of repeated allocations, and settings of the user."""

import subprocess
import sys

import pytest

from velm_lightning.io.allocator import reuse_memory

SCRIPT = """
import resource
from velm_lightning.io.allocator import reuse_memory

def faults_of(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        blocks = [b"x" * 10_000_000 for _ in range(8)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of(3)
by_default = faults_of(3)
print(reuse_memory())
faults_of(1)  # gets its pages from the system
print(by_default, faults_of(3))
"""


@pytest.fixture
def free_environment(monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


def test_repeated_allocations_reuse_their_pages(free_environment):
    output = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    changed, *counts = output.split()
    if changed == "False":
        pytest.skip("not glibc")
    by_default, reused = map(int, counts)
    assert reused < by_default / 100


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_settings_of_the_user_stay(free_environment, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert not reuse_memory()


def test_another_c_library_is_left_alone(free_environment, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not reuse_memory()

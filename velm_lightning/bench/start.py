"""Measures how soon help, versions and refusals answer, each command in a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from velm_lightning.bench.result import Result

COMMANDS = (
    "--help",
    "--version",
    *(f"{name} --help" for name in ("fit", "ask", "compare", "sweep", "init", "data check", "runs", "bench")),
    *("fitt", "fit conf/vqa.yml", "fit --config nowhere.yaml", "test nowhere.ckpt", "ask nowhere --random"),
    *("verify nowhere", "data check nowhere.yaml", "init nowhere.csv"),
)
"""Help, the version, and refusals of what is misspelt or missing."""


def run(options: argparse.Namespace) -> list[Result]:
    """Return the table of the benchmark."""
    table = Result("seconds until a command answers", ("command", "elapsed, s", "CPU, s", "exit code"))
    with TemporaryDirectory() as folder:
        for command in COMMANDS:
            turns = [_timed(command.split(), folder) for _ in range(options.turns)]
            elapsed, cpu, codes = zip(*turns, strict=True)
            table.add_row(f"velm {command}", min(elapsed), min(cpu), str(codes[0]))
    table.notes.append(f"The shortest of {options.turns} turns, the start of Python included.")
    return [table]


def _timed(words: Sequence[str], folder: str) -> tuple[float, float, int]:
    """Return the seconds, the CPU seconds and the exit code of a command in an empty folder."""
    import resource

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before, start = spent(), time.perf_counter()
    command = [sys.executable, "-m", "velm_lightning", *words]
    done = subprocess.run(command, capture_output=True, check=False, cwd=folder)
    return time.perf_counter() - start, spent() - before, done.returncode

"""The run of ``velm bench gpu``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from velm_lightning.bench.gpu import generating, loop, reading, training
from velm_lightning.bench.gpu.cases import Outcomes, run_cases, tabulate
from velm_lightning.bench.gpu.setting import Setting
from velm_lightning.bench.machine import device_name
from velm_lightning.bench.result import Result, write
from velm_lightning.types import InputError

PARTS = {"train": training, "step": loop, "decode": generating, "input": reading, "growth": training}
"""The file of each part."""


def run(options: argparse.Namespace) -> list[Result]:
    """Return one table per part; its files are also written after every case."""
    torch.manual_seed(0)
    if not (options.small or torch.cuda.is_available()):
        raise InputError("velm bench gpu: there is no GPU: add --small for a run of tiny models on the CPU")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return _run(options, Setting(options.small, Path(folder)))


def _run(options: argparse.Namespace, setting: Setting) -> list[Result]:
    modules = list(dict.fromkeys(PARTS[part] for part in PARTS if part in options.only))
    cases = [case for module in modules for case in module.cases(setting) if case.part in options.only]
    if setting.small:  # the estimates are for models of full size
        cases = [case._replace(seconds=0.0) for case in cases]

    def results(outcomes: Outcomes) -> list[Result]:
        tables = {part: table for module in modules for part, table in module.tables(setting).items()}
        tabulated = tabulate(outcomes, tables, title(setting))
        tabulated[0].notes.append(setting.describe_peaks())
        return tabulated

    return results(
        run_cases(cases, options.minutes, lambda outcomes: write(options.json, options.command, results(outcomes)))
    )


def title(setting: Setting) -> str:
    """Return the start of the titles: the card, or that there was none."""
    where = device_name() if setting.cuda else f"NOT A GPU, CPU with {device_name()}"
    return f"{where}{', tiny models' if setting.small else ''}: "

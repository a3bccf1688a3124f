"""The options of ``velm bench gpu``, and its run."""

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
"""The parts and the file of each."""
"""The parts and the file of each."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--small", action="store_true", help="tiny models, also on a CPU, in one to two minutes")
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="PARTS", help=f"of {','.join(PARTS)} (all)")
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit (9); what does not fit is not run")
    parser.set_defaults(json=Path("velm_bench_gpu.json"))


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}: choose among {', '.join(PARTS)}")
    return parts


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

"""``velm bench``: measures speed, as ratios within one run, and the error rates of a comparison."""

from __future__ import annotations

import argparse
import ast
import math
import shlex
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from velm_lightning.data import MultimodalData

from velm_lightning.bench.options import OPTIONS
from velm_lightning.errors import at_least, within
from velm_lightning.io.console import echo

BENCHES = {
    "gpu": "the speed of training, decoding and reading data on a GPU, in one command of 9 minutes",
    "start": "seconds until help, versions and refusals are printed",
    "step": "a training step of velm against a plain PyTorch loop",
    "fusions": "cost of each fusion: training and inference throughput, utilisation",
    "decoding": "tokens per second, with and without the cache, against transformers.generate",
    "scoring": "captions scored per second, and how that scales with the number of images",
    "features": "an epoch on cached features, on tensors in memory and with the encoder in the loop",
    "baseline": "an MLP on frozen features of your data: the score that a run must exceed",
    "statistics": "error rate and power of velm compare",
}


def load_data(file: Path, images: Path | None, val: Path | None, test: Path | None) -> MultimodalData:
    """Return the data of a config, or of a table as ``velm init`` reads it.

    Raises:
        InputError: As ``data_of`` and ``propose``.
    """
    from velm_lightning.cli.data.load import data_of

    if file.suffix in (".yaml", ".yml"):
        return data_of(file)
    from velm_lightning.cli.start.proposal import propose
    from velm_lightning.cli.start.recipe import data_section
    from velm_lightning.io.yaml_files import dump_yaml

    files = {"train": file.resolve(), "val": val and val.resolve(), "test": test and test.resolve()}
    section = data_section(propose(file, images), files)
    with TemporaryDirectory() as folder:
        config = Path(folder, "data.yaml")
        config.write_text(dump_yaml(section), "utf-8")
        return data_of(config)


def main(words: Sequence[str]) -> int:
    """Run one benchmark, print its tables and the command that repeats them; only its module is imported."""
    options = _parser(words[1:2]).parse_args(list(words)[1:])
    for name, value in vars(options).items():
        option = {f"--{name.replace('_', '-')}": value}
        if type(value) is int:
            at_least(1, **option)
        elif type(value) is float:
            within(0, math.inf, **option)
    options.load_data = load_data  # benchmarks do not import commands
    options.command = shlex.join(["velm", "bench", *list(words)[1:]])
    results = import_module(f"velm_lightning.bench.{options.bench}").run(options)
    if results:
        from velm_lightning.bench.result import repeat_line, write

        for result in results:
            result.print()
        if options.json:
            write(options.json, options.command, results)
        echo(repeat_line(options.command))
    return 0


def _parser(named: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser, with the options only of the benchmarks that are named."""
    parser = argparse.ArgumentParser(
        "velm bench", description="Measure speed, as ratios within one run, and error rates."
    )
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    for name, summary in BENCHES.items():
        description = _docstring(name) if name in named else None
        bench = benches.add_parser(name, help=summary, description=description)
        if name in named:
            OPTIONS[name](bench)
            if name != "statistics":  # which prints every table as Markdown once it is complete
                bench.add_argument(
                    "--json", type=Path, metavar="FILE", help="also write JSON to FILE, and Markdown next to it"
                )
    return parser


def _docstring(name: str) -> str | None:
    """Return the docstring of a benchmark without importing it."""
    spec = find_spec(f"velm_lightning.bench.{name}")
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8"))) if spec and spec.origin else None

"""``velm bench``: measures speed, as ratios within one run, and the error rates of a comparison."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from velm_lightning.bench.options import OPTIONS

BENCHES = {
    "gpu": "the speed of training, decoding and reading data on a GPU, in one command of 9 minutes",
    "step": "a training step of velm against a plain PyTorch loop",
    "fusions": "cost of each fusion: training and inference throughput, utilisation",
    "decoding": "tokens per second, with and without the cache, against transformers.generate",
    "scoring": "captions scored per second, and how that scales with the number of images",
    "features": "an epoch on cached features, on tensors in memory and with the encoder in the loop",
    "statistics": "error rate and power of velm compare",
}


def main(words: Sequence[str]) -> int:
    """Run one benchmark, print its tables and the command that repeats them; only its module is imported."""
    options = _parser(words[1:2]).parse_args(list(words)[1:])
    options.command = shlex.join(["velm", "bench", *list(words)[1:]])
    results = import_module(f"velm_lightning.bench.{options.bench}").run(options)
    if results:
        from velm_lightning.bench.result import repeat_line, write

        for result in results:
            result.print()
        if options.json:
            write(options.json, options.command, results)
        print(repeat_line(options.command))
    return 0


def _parser(named: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser, with the options only of the benchmarks that are named."""
    parser = argparse.ArgumentParser(
        "velm bench", description="Measure speed, as ratios within one run, and error rates."
    )
    benches = parser.add_subparsers(dest="bench", required=True)
    for name, summary in BENCHES.items():
        description = _docstring(name) if name in named else None
        bench = benches.add_parser(name, help=summary, description=description)
        if name in named:
            declare = OPTIONS.get(name) or import_module(f"velm_lightning.bench.{name}").arguments
            declare(bench)
            if name != "statistics":  # which prints Markdown, and runs for an hour
                bench.add_argument(
                    "--json", type=Path, metavar="FILE", help="also write JSON to FILE, and Markdown next to it"
                )
    return parser


def _docstring(name: str) -> str | None:
    """Return the docstring of a benchmark without importing it."""
    spec = find_spec(f"velm_lightning.bench.{name}")
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8"))) if spec and spec.origin else None

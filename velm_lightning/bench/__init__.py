"""``velm bench``: what is fast, measured as ratios within one run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

BENCHES = {
    "step": "a training step of velm beside a bare PyTorch loop",
    "fusions": "what each fusion costs: training and inference throughput, utilisation",
    "decoding": "words a second, with and without the cache, beside transformers.generate",
    "scoring": "captions scored, and how that grows with the images",
    "features": "an epoch on kept features beside tensors in memory and the encoder in the loop",
}


def main(words: Sequence[str]) -> int:
    """Run one benchmark and print its table."""
    parser = argparse.ArgumentParser("velm bench", description="Measure speed, as ratios within one run.")
    benches = parser.add_subparsers(dest="bench", required=True)
    for name, what in BENCHES.items():
        module = import_module(f"velm_lightning.bench.{name}")
        one = benches.add_parser(name, help=what, description=module.__doc__)
        module.arguments(one)
        one.set_defaults(run=module.run)
    options = parser.parse_args(list(words)[1:])
    options.run(options)
    return 0

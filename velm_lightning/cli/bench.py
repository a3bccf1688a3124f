"""``velm bench``: what is fast, measured as ratios within one run, and how often a comparison is right."""

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
    "statistics": "how often velm compare is wrong, and how often it finds a true gap",
}


def main(words: Sequence[str]) -> int:
    """Run one benchmark and print its table; only its module is imported."""
    parser = argparse.ArgumentParser("velm bench", description="Measure speed, as ratios within one run, and errors.")
    benches = parser.add_subparsers(dest="bench", required=True)
    for name, what in BENCHES.items():
        one = benches.add_parser(name, help=what)
        if name in words[1:2]:
            module = import_module(f"velm_lightning.bench.{name}")
            one.description = module.__doc__
            module.arguments(one)
            one.set_defaults(run=module.run)
    options = parser.parse_args(list(words)[1:])
    options.run(options)
    return 0

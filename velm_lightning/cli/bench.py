"""``velm bench``: measures speed, as ratios within one run, and the error rates of a comparison."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

BENCHES = {
    "step": "a training step of velm against a plain PyTorch loop",
    "fusions": "cost of each fusion: training and inference throughput, utilisation",
    "decoding": "tokens per second, with and without the cache, against transformers.generate",
    "scoring": "captions scored per second, and how that scales with the number of images",
    "features": "an epoch on cached features, on tensors in memory and with the encoder in the loop",
    "statistics": "error rate and power of velm compare",
}


def main(words: Sequence[str]) -> int:
    """Run one benchmark and print its table; only its module is imported."""
    parser = argparse.ArgumentParser(
        "velm bench", description="Measure speed, as ratios within one run, and error rates."
    )
    benches = parser.add_subparsers(dest="bench", required=True)
    for name, summary in BENCHES.items():
        bench = benches.add_parser(name, help=summary)
        if name in words[1:2]:
            module = import_module(f"velm_lightning.bench.{name}")
            bench.description = module.__doc__
            module.arguments(bench)
            bench.set_defaults(run=module.run)
    options = parser.parse_args(list(words)[1:])
    options.run(options)
    return 0

"""The options of every benchmark, apart from its code, so that ``velm bench NAME --help`` imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from velm_lightning.io.packaged import MINILM
from velm_lightning.io.paths import user_path

CLOCKS = ("wall", "cpu")
FEATURE_FUSIONS = ("early", "interactive", "late")
GPU_PARTS = ("train", "step", "decode", "input", "growth")
TABLES = (
    *("ratio", "kinds", "unequal", "gap", "power", "pair", "not_held", "planned"),
    *("looks", "saved", "small", "posterior"),
)


def step(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench step``."""
    parser.add_argument("--dim", type=int, default=256, help="width of the model (256: about 5M parameters)")
    parser.add_argument("--batch-size", type=int, default=32, help="samples per batch (32)")
    parser.add_argument("--steps", type=int, default=3, help="steps of each side per turn (3)")
    parser.add_argument("--turns", type=int, default=20, help="least number of turns (20)")
    parser.add_argument("--within", type=float, default=2.0, help="limit on the interval of the ratio, in +- %% (2)")
    parser.add_argument("--minutes", type=float, default=15.0, help="time after which no turn starts (15)")


def fusions(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench fusions``."""
    parser.add_argument("--dim", type=int, default=256, help="width of all layers (256)")
    parser.add_argument("--depth", type=int, default=4, help="layers of each encoder (4)")
    parser.add_argument("--size", type=int, default=64, help="side of an image in pixels (64: 64 image tokens)")
    parser.add_argument("--batch-size", type=int, default=64, help="samples per batch (64)")
    parser.add_argument("--steps", type=int, default=5, help="steps per turn (5)")
    parser.add_argument("--turns", type=int, default=5, help="number of turns (5)")
    parser.add_argument("--bf16", action="store_true", help="train and infer under bf16 autocast")
    parser.add_argument("--compile", action="store_true", help="compile the layers of encoders and fusions")


def decoding(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench decoding``."""
    parser.add_argument("--dim", type=int, default=384, help="width of the model (384: 14.5M parameters)")
    parser.add_argument("--depth", type=int, default=6, help="layers (6)")
    parser.add_argument("--words", type=int, default=10_000, help="size of the vocabulary (10,000)")
    parser.add_argument("--batch-size", type=int, default=32, help="sentences per batch (32)")
    prefix = "words before the sentence (10: the visual prefix of conf/visual_prefix.yaml)"
    parser.add_argument("--prompt", type=int, default=10, help=prefix)
    parser.add_argument("--length", type=int, default=32, help="words per sentence (32)")
    parser.add_argument("--beams", type=int, default=5, help="beams of the beam search (5)")
    parser.add_argument("--turns", type=int, default=5, help="number of turns (5)")
    clock = "wall: elapsed time; cpu: the CPU time of the process, for a machine with other load (wall)"
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help=clock)


def scoring(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench scoring``."""
    sizes: dict[str, Any] = {"type": int, "nargs": "+", "default": [1_000, 5_000, 40_000], "metavar": "N"}
    parser.add_argument("--images", **sizes, help="numbers of images (1000 5000 40000)")
    parser.add_argument("--captions", type=user_path, metavar="FILE", help="file of real captions, of COCO or Karpathy")
    parser.add_argument("--turns", type=int, default=3, help="number of turns (3)")


def features(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench features``."""
    parser.add_argument("--encoder", default="mobilenet_v2", help="a torchvision model, with random weights")
    parser.add_argument("--size", type=int, default=160, help="side of an image in pixels (160)")
    parser.add_argument("--fusion", choices=FEATURE_FUSIONS, default="late", help="fusion to train (late)")
    parser.add_argument("--dim", type=int, default=128, help="width of the model (128)")
    parser.add_argument("--samples", type=int, default=512, help="samples per epoch, each with its own image (512)")
    parser.add_argument("--batch-size", type=int, default=64, help="samples per batch (64)")
    parser.add_argument("--turns", type=int, default=5, help="number of turns (5)")


def statistics(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench statistics``."""
    parser.add_argument("--draws", type=int, default=20_000, help="comparisons per cell (20000)")
    tables = f"all by default: {', '.join(TABLES)}"
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES), metavar="NAME", help=tables)


def baseline(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench baseline``."""
    parser.add_argument("data", type=user_path, help="a config, or a table as for `velm init`")
    parser.add_argument("--images", type=user_path, metavar="DIR", help="folder of a table's images")
    parser.add_argument("--val", type=user_path, metavar="FILE", help="validation samples of a table")
    parser.add_argument("--test", type=user_path, metavar="FILE", help="test samples of a table")
    runs = "runs to compare with, on the same data"
    parser.add_argument("--run", dest="runs", nargs="+", default=[], metavar="RUN", help=runs)
    parser.add_argument("--seeds", type=_seed, nargs="+", default=[0], metavar="N", help="seeds of the training (0)")
    parser.add_argument("--text-model", default=MINILM, metavar="NAME", help=f"hub name or folder ({MINILM})")
    parser.add_argument("--image-model", default="mobilenet_v2", metavar="NAME", help="of torchvision (mobilenet_v2)")
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="of torchvision, or `none` (IMAGENET1K_V1)")


def start(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench start``."""
    parser.add_argument("--turns", type=int, default=3, help="number of turns (3)")


def gpu(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``velm bench gpu``."""
    parser.add_argument("--small", action="store_true", help="tiny models, also on a CPU, in one to two minutes")
    every = ",".join(GPU_PARTS)
    parser.add_argument("--only", type=_parts, default=list(GPU_PARTS), metavar="PARTS", help=f"of {every} (all)")
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit (9); what does not fit is not run")
    parser.set_defaults(json=Path("velm_bench_gpu.json"))


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"a seed must be from 0 to 2**32 - 1, got {seed}")
    return seed


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = [part for part in parts if part not in GPU_PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}: choose among {', '.join(GPU_PARTS)}")
    return parts


OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    function.__name__: function
    for function in (gpu, start, step, fusions, decoding, scoring, features, baseline, statistics)
}
"""The function that declares the options of a benchmark, by the benchmark's name."""

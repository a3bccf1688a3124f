"""Seconds to score captions by BLEU-1…4, ROUGE-L and CIDEr-D, tokenising included, and how they grow with the images.

The captions are words drawn by Zipf's law, some of a picture's own, or those of a file. Where ``pycocoevalcap`` is
installed (with Java for its tokeniser), it scores the smallest set in the same run, turn by turn, and must find the
same figures; it is no dependency of this package.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from velm_lightning.bench.interleaved_timing import in_short, in_turns, ratios
from velm_lightning.data.result_files import read_references
from velm_lightning.metrics.captions import score_captions
from velm_lightning.metrics.references import References

Captions = dict[str, tuple[str, ...]]
Figures = dict[str, float]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    sizes: dict[str, Any] = {"type": int, "nargs": "+", "default": [1_000, 5_000, 40_000], "metavar": "N"}
    parser.add_argument("--images", **sizes, help="numbers of images (1000 5000 40000)")
    parser.add_argument("--captions", type=Path, metavar="FILE", help="real ones: COCO's or Karpathy's file")
    parser.add_argument("--turns", type=int, default=3, help="turns of each (3)")


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    table = Table(title="BLEU-1…4, ROUGE-L and CIDEr-D of one caption an image against its other captions, one process")
    for name in ("images", "references", "cold, s", "indexed, s", "pycocoevalcap, s", "/ cold", "/ indexed"):
        table.add_column(name, justify="right")
    sizes = sorted(options.images)
    everything = read_references([options.captions]) if options.captions else drawn(sizes[-1])
    for size in sizes:
        chosen = dict(list(everything.items())[:size])
        said = {key: captions[0] for key, captions in chosen.items()}
        references = {key: captions[1:] for key, captions in chosen.items()}
        compared = size == sizes[0] and importlib.util.find_spec("pycocoevalcap") is not None
        table.add_row(*measured(said, references, options.turns, compared))
    Console().print(table)


def drawn(images: int, captions: int = 6, vocabulary: int = 10_000) -> Captions:
    """Return captions of 10.5 words: half of them common ones, half from the picture's own twelve."""
    random = np.random.default_rng(0)
    zipf = 1 / np.arange(1, vocabulary + 1)
    words = random.choice(vocabulary, (images, captions, 20), p=zipf / zipf.sum())
    own = random.integers(vocabulary, size=(images, 1, 12))
    own = np.take_along_axis(own.repeat(captions, 1), random.integers(12, size=words.shape), axis=2)
    words = np.where(random.random(words.shape) < 0.5, words, own)
    spelt = ["".join(letters) for letters in islice(product("aeioustnrl", repeat=4), vocabulary)]
    lengths = random.binomial(20, 0.525, (images, captions)).clip(min=1)
    return {
        str(image): tuple(
            " ".join(spelt[word] for word in words[image, caption, : lengths[image, caption]]) + "."
            for caption in range(captions)
        )
        for image in range(images)
    }


def measured(said: dict[str, str], references: Captions, turns: int, compared: bool) -> list[str]:
    """Return a row of the table."""
    index = References(references)
    ways: list[Callable[[], Figures]] = [
        lambda: {name: score.corpus for name, score in score_captions(said, references).items()},
        lambda: {name: score.corpus for name, score in score_captions(said, index).items()},
    ]
    if compared:
        ways.append(lambda: theirs(said, references))
    times, found = in_turns(ways, turns)
    for other in found[1:]:
        assert all(abs(other[name] - value) < 1e-9 for name, value in found[0].items()), "the same figures"
    row = [f"{len(said):,}", f"{sum(map(len, references.values())):,}", *(f"{statistics.median(t):.2f}" for t in times)]
    return [*row, *(in_short(ratios(times[2], ours), 1) for ours in times[:2])] if compared else row


def theirs(said: dict[str, str], references: Captions) -> Figures:
    """Score by pycocoevalcap, its tokeniser started anew as its evaluation does."""
    parts = {"bleu": "Bleu", "rouge": "Rouge", "cider": "Cider"}
    modules = {name: importlib.import_module(f"pycocoevalcap.{name}.{name}") for name in parts}
    tokenise: Any = importlib.import_module("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
    gts = tokenise.tokenize({key: [{"caption": one} for one in captions] for key, captions in references.items()})
    res = tokenise.tokenize({key: [{"caption": caption}] for key, caption in said.items()})
    bleu = modules["bleu"].Bleu(4).compute_score(gts, res, verbose=0)[0]
    rouge, cider = (getattr(modules[name], parts[name])().compute_score(gts, res)[0] for name in ("rouge", "cider"))
    return {**{f"BLEU-{n + 1}": value for n, value in enumerate(bleu)}, "ROUGE-L": rouge, "CIDEr-D": cider}

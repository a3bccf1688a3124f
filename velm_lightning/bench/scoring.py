"""Measures the seconds to score captions by BLEU-1…4, ROUGE-L and CIDEr-D, by number of images, tokenising included.

The captions consist of words drawn by Zipf's law and of words specific to an image, or come from a file. If
``pycocoevalcap`` is installed (with Java for its tokeniser), it scores the smallest set in the same turns and must give
the same figures; it is not a dependency of this package.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable
from itertools import islice, product
from typing import Any

import numpy as np

from velm_lightning.bench.interleaved_timing import in_turns, ratios
from velm_lightning.bench.interval import Interval
from velm_lightning.bench.result import Cell, Result
from velm_lightning.data.result_files import read_references
from velm_lightning.metrics.captions import score_captions
from velm_lightning.metrics.references import References

Captions = dict[str, tuple[str, ...]]
Figures = dict[str, float]


def run(options: argparse.Namespace) -> list[Result]:
    """Return the table of the benchmark."""
    table = Result(
        "BLEU-1…4, ROUGE-L and CIDEr-D of one caption per image against its other captions, one process",
        ("images", "references", "cold, s", "indexed, s", "pycocoevalcap, s", "/ cold", "/ indexed"),
    )
    sizes = sorted(options.images)
    everything = read_references([options.captions]) if options.captions else drawn(sizes[-1])
    for size in sizes:
        chosen = dict(list(everything.items())[:size])
        candidates = {key: captions[0] for key, captions in chosen.items()}
        references = {key: captions[1:] for key, captions in chosen.items()}
        compared = size == sizes[0] and importlib.util.find_spec("pycocoevalcap") is not None
        table.add_row(*measured(candidates, references, options.turns, compared))
    return [table]


def drawn(images: int, captions: int = 6, vocabulary: int = 10_000) -> Captions:
    """Return captions of 10.5 words on average, half of them from twelve words specific to the image."""
    random = np.random.default_rng(0)
    zipf = 1 / np.arange(1, vocabulary + 1)
    words = random.choice(vocabulary, (images, captions, 20), p=zipf / zipf.sum())
    specific = random.integers(vocabulary, size=(images, 1, 12))
    specific = np.take_along_axis(specific.repeat(captions, 1), random.integers(12, size=words.shape), axis=2)
    words = np.where(random.random(words.shape) < 0.5, words, specific)
    spelt = ["".join(letters) for letters in islice(product("aeioustnrl", repeat=4), vocabulary)]
    lengths = random.binomial(20, 0.525, (images, captions)).clip(min=1)
    return {
        str(image): tuple(
            " ".join(spelt[word] for word in words[image, caption, : lengths[image, caption]]) + "."
            for caption in range(captions)
        )
        for image in range(images)
    }


def measured(candidates: dict[str, str], references: Captions, turns: int, compared: bool) -> list[Cell]:
    """Return the row of the table for one set of captions."""
    index = References(references)
    ways: list[Callable[[], Figures]] = [
        lambda: {name: score.corpus for name, score in score_captions(candidates, references).items()},
        lambda: {name: score.corpus for name, score in score_captions(candidates, index).items()},
    ]
    if compared:
        ways.append(lambda: theirs(candidates, references))
    times, figures = in_turns(ways, turns)
    for other in figures[1:]:
        assert all(abs(other[name] - value) < 1e-9 for name, value in figures[0].items()), "figures differ"
    row: list[Cell] = [len(candidates), sum(map(len, references.values())), *map(Interval.of, times)]
    return [*row, *(Interval.of(ratios(times[2], ours)) for ours in times[:2])] if compared else row


def theirs(candidates: dict[str, str], references: Captions) -> Figures:
    """Score with pycocoevalcap, starting its tokeniser each time as its evaluation does."""
    parts = {"bleu": "Bleu", "rouge": "Rouge", "cider": "Cider"}
    modules = {name: importlib.import_module(f"pycocoevalcap.{name}.{name}") for name in parts}
    tokenise: Any = importlib.import_module("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
    gts = tokenise.tokenize(
        {key: [{"caption": caption} for caption in captions] for key, captions in references.items()}
    )
    res = tokenise.tokenize({key: [{"caption": caption}] for key, caption in candidates.items()})
    bleu = modules["bleu"].Bleu(4).compute_score(gts, res, verbose=0)[0]
    rouge, cider = (getattr(modules[name], parts[name])().compute_score(gts, res)[0] for name in ("rouge", "cider"))
    return {**{f"BLEU-{n + 1}": value for n, value in enumerate(bleu)}, "ROUGE-L": rouge, "CIDEr-D": cider}

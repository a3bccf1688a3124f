"""BLEU-1…4, ROUGE-L and CIDEr-D of captions, equal to the COCO caption evaluation and many times as fast.

Definitions: BLEU, Papineni et al. 2002; ROUGE-L, Lin 2004; CIDEr-D, Vedantam et al. 2015; all as ``pycocoevalcap`` 1.2
computes them (Chen et al. 2015, arXiv:1504.00325), including its smoothing and its lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from velm_lightning.metrics import _figures, _rouge
from velm_lightning.metrics._ngrams import ORDERS, Floats, Ints, WordArrays
from velm_lightning.metrics._rows import RowsMetric
from velm_lightning.metrics.ptb import ptb_tokenise_all
from velm_lightning.metrics.references import CaptionsOf, Key, References
from velm_lightning.types import InputError

Hypotheses = Mapping[Any, str] | Sequence[str]
"""One caption per image by its `Key`, or a list for images 0…N - 1."""

NAMES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D")


class Score(NamedTuple):
    """A figure of the whole corpus, and one per caption.

    Attributes:
        corpus: the figure to report; the mean of the samples for ROUGE-L and CIDEr-D, but not for BLEU.
        samples: (N,) in the order of the references.
    """

    corpus: float
    samples: Floats


def score_captions(
    hypotheses: Hypotheses, references: References | CaptionsOf, names: Sequence[str] = NAMES, *, tokenise: bool = True
) -> dict[str, Score]:
    """Score one caption per image against the image's references.

    Args:
        hypotheses: one caption per image; a list is of images 0…N - 1.
        references: captions of the same images, or their index, built once and used in every epoch.
        names: which of `NAMES`.
        tokenise: pass both sides through the PTB tokeniser; False if they are tokens joined by blanks. The references
            of an index are not tokenised again.

    Returns:
        By name: BLEU and ROUGE-L from 0 to 1, CIDEr-D from 0 to 10. CIDEr-D depends on the images that are scored
        together, because its weights are counted on them; for a single image it is 0.

    Raises:
        InputError: If a name is unknown, an image has no hypothesis or no references, or a hypothesis is not a string.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InputError(f"names: {unknown[0]!r} is not one of {', '.join(NAMES)}")
    index = references if isinstance(references, References) else References(references, tokenise=tokenise)
    lines = hypothesis_lines(hypotheses, index, tokenise=tokenise)
    scores: dict[str, Score] = {}
    if any(name != "ROUGE-L" for name in names):
        scores |= _of_grams(lines, index, names)
    if "ROUGE-L" in names:
        reference_words = index.words_at_blanks
        hypothesis_words = WordArrays.of(lines, reference_words.vocabulary, at_blanks_only=True)
        values = _rouge.rouge_l(hypothesis_words.sentences, reference_words.sentences, index.start)
        scores["ROUGE-L"] = _averaged(values)
    return {name: scores[name] for name in names}


def bleu(hypotheses: Hypotheses, references: References | CaptionsOf, *, tokenise: bool = True) -> dict[str, Score]:
    """Return BLEU-1…4; arguments and errors as in `score_captions`."""
    return score_captions(hypotheses, references, NAMES[:ORDERS], tokenise=tokenise)


def rouge_l(hypotheses: Hypotheses, references: References | CaptionsOf, *, tokenise: bool = True) -> Score:
    """Return ROUGE-L; arguments and errors as in `score_captions`."""
    return score_captions(hypotheses, references, ("ROUGE-L",), tokenise=tokenise)["ROUGE-L"]


def cider_d(hypotheses: Hypotheses, references: References | CaptionsOf, *, tokenise: bool = True) -> Score:
    """Return CIDEr-D; arguments and errors as in `score_captions`."""
    return score_captions(hypotheses, references, ("CIDEr-D",), tokenise=tokenise)["CIDEr-D"]


def cider_d_rows(
    captions: Sequence[str], keys: Sequence[Key], references: References, *, tokenise: bool = True
) -> Floats:
    """Return CIDEr-D of B captions of any images of the index, also several per image: a reward for training.

    The weights are always those of the whole index (Rennie et al. 2017, arXiv:1612.00563).

    Args:
        captions: B captions.
        keys: B images of ``references``; repeats are allowed.
        references: the index, usually of the training split.
        tokenise: False if the captions are tokens joined by blanks.

    Returns:
        (B,) from 0 to 10.

    Raises:
        InputError: If the lengths differ, a key has no references, or a caption is not a string.
    """
    if len(captions) != len(keys):
        raise InputError(f"{len(captions)} captions for {len(keys)} keys: give one key per caption")
    for key, caption in zip(keys, captions, strict=True):
        _check_caption(key, caption)
    lines = ptb_tokenise_all(captions) if tokenise else list(captions)
    grams, length = _counted(lines, references)
    return _figures.cider_d(grams, length, references, references.places(keys))


class CaptionScores(RowsMetric):
    """`score_captions` over everything seen, the same to the last digit whatever the number of processes and the order.

    Args:
        references: the index, or the captions of each image. Images that were not seen are left out of it.
        names: the figures that `compute` returns.
        tokenise: False if hypotheses and references are tokens joined by blanks.
    """

    higher_is_better = True

    def __init__(
        self, references: References | CaptionsOf, names: Sequence[str] = NAMES, *, tokenise: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.references = (
            references if isinstance(references, References) else References(references, tokenise=tokenise)
        )
        self.names = tuple(names)
        self.tokenise = tokenise

    def update(self, keys: Sequence[Key], hypotheses: Sequence[str]) -> None:
        """Add a batch: B images and a caption for each.

        Raises:
            InputError: If the lengths differ, an image has no references, or a hypothesis is not a string.
        """
        if len(keys) != len(hypotheses):
            raise InputError(f"{len(hypotheses)} hypotheses for {len(keys)} keys: give one hypothesis per key")
        self.references.places(keys)
        for key, caption in zip(keys, hypotheses, strict=True):
            _check_caption(key, caption)
        self.keep(zip(keys, hypotheses, strict=True))

    def rows(self) -> dict[str, Score]:
        """Return the scores of the corpus and of each image seen, in the order of the references.

        Raises:
            InputError: If no image was added, or an image was added twice.
        """
        captions: dict[Key, str] = {}
        for key, caption in self.kept():
            if key in captions:
                raise InputError(f"image {key!r} has two hypotheses: score each image once")
            captions[key] = caption
        keys = [key for key in self.references.keys if key in captions]
        index = self.references if len(keys) == len(self.references) else self.references.only(keys)
        return score_captions(captions, index, self.names, tokenise=self.tokenise)

    def compute(self) -> dict[str, Tensor]:
        """Return the corpus figures by name, as float64 scalars; raises as `rows`."""
        return {name: torch.tensor(score.corpus, dtype=torch.float64) for name, score in self.rows().items()}


def _of_grams(lines: Sequence[str], index: References, names: Sequence[str]) -> dict[str, Score]:
    """Return the figures that are counted from n-grams."""
    grams, length = _counted(lines, index)
    scores: dict[str, Score] = {}
    if any(name.startswith("BLEU") for name in names):
        corpus, samples = _figures.bleu(grams, length, index)
        scores |= {f"BLEU-{n + 1}": Score(float(corpus[n]), samples[:, n]) for n in range(ORDERS)}
    if "CIDEr-D" in names:
        scores["CIDEr-D"] = _averaged(_figures.cider_d(grams, length, index, np.arange(len(index))))
    return scores


def _counted(lines: Sequence[str], index: References) -> tuple[list[_figures.Counted], Ints]:
    """Return the hypotheses' n-grams for n = 1…4 and the hypotheses' lengths."""
    words = WordArrays.of(lines, index.words.vocabulary)
    return _figures.counted_against(index, words), words.sentences.length


def _averaged(samples: Floats) -> Score:
    return Score(float(np.mean(samples)), samples)


def hypothesis_lines(hypotheses: Hypotheses, index: References, *, tokenise: bool) -> list[str]:
    """Return the tokens of the hypotheses in the order of the references; raises InputError if images do not match."""
    if isinstance(hypotheses, str):
        raise InputError(f"hypotheses: expected one caption per image, got {hypotheses!r}; put it into a list")
    by_key: Mapping[Key, str] = hypotheses if isinstance(hypotheses, Mapping) else dict(enumerate(hypotheses))
    index.places(by_key)
    missing = [key for key in index.keys if key not in by_key]
    if missing:
        raise InputError(
            f"image {missing[0]!r} has no hypothesis, nor have {len(missing) - 1} others: give one for every image of "
            "the references, or score against References.only(the images that have one)"
        )
    for key, caption in by_key.items():
        _check_caption(key, caption)
    captions = [by_key[key] for key in index.keys]
    return ptb_tokenise_all(captions) if tokenise else captions


def _check_caption(key: Key, caption: object) -> None:
    if not isinstance(caption, str):
        raise InputError(f"hypothesis of image {key!r}: expected a string, got {caption!r}; an empty one scores 0")

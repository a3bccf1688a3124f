"""Sanity checks of generated texts: their diversity, and the share of copied training captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from velm_lightning.metrics.ptb import ptb_tokenise_all
from velm_lightning.types import InputError


class Diversity(NamedTuple):
    """The diversity of N generated captions; words are PTB tokens in lower case, without punctuation.

    Attributes:
        vocabulary: number of different words.
        distinct_1: different words per word.
        distinct_2: different pairs of neighbours per pair (Li et al. 2016, arXiv:1510.03055).
        different: share of different captions.
        seen: share of captions that occur word for word among the training captions; None without these.
        mean_length: mean number of words per caption.
        empty: share of captions without a word.
    """

    vocabulary: int
    distinct_1: float
    distinct_2: float
    different: float
    seen: float | None
    mean_length: float
    empty: float


def diversity(captions: Sequence[str], training: Iterable[str] | None = None) -> Diversity:
    """Describe generated captions.

    Args:
        captions: N captions.
        training: the captions that the model was trained on.

    Raises:
        InputError: If there are no captions.
    """
    if not captions:
        raise InputError("no captions to describe: the split is empty")
    lines = ptb_tokenise_all(captions)
    split = [line.split() for line in lines]
    words = [word for line in split for word in line]
    pairs = [pair for line in split for pair in zip(line, line[1:], strict=False)]
    known = None if training is None else set(ptb_tokenise_all(training))
    return Diversity(
        vocabulary=len(set(words)),
        distinct_1=len(set(words)) / max(len(words), 1),
        distinct_2=len(set(pairs)) / max(len(pairs), 1),
        different=len(set(lines)) / len(lines),
        seen=None if known is None else sum(line in known for line in lines) / len(lines),
        mean_length=len(words) / len(lines),
        empty=sum(not line for line in split) / len(lines),
    )

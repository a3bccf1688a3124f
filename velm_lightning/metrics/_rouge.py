"""Computes ROUGE-L by the bit-parallel longest common subsequence of all pairs (caption, reference) at once.

Method: Hyyrö 2004, "Bit-parallel LCS-length computation revisited". The caption is a word of 64 bits, one per token,
and all references advance by one token per step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from velm_lightning.metrics._ngrams import Floats, Ints, Sentences, find, is_first

_BITS = 64
_BETA = 1.2  # recall counts more than precision


def rouge_l(hypotheses: Sentences, references: Sentences, start: Ints) -> Floats:
    """Return (N,) ROUGE-L: the F-measure of the best precision and the best recall, each over all references.

    Args:
        hypotheses: N sentences of at least one word.
        references: R sentences of at least one word, numbered by the same vocabulary.
        start: (N + 1,) offsets of the references of each hypothesis.
    """
    image = np.repeat(np.arange(len(start) - 1), np.diff(start))  # (R,)
    common = _common(hypotheses, references, image)
    precision = np.maximum.reduceat(common / hypotheses.length[image], start[:-1])
    recall = np.maximum.reduceat(common / references.length, start[:-1])
    total = recall + _BETA**2 * precision
    return np.asarray((1 + _BETA**2) * precision * recall / np.where(total > 0, total, 1))


def _common(hypotheses: Sentences, references: Sentences, image: Ints) -> Ints:
    """Return (R,) the length of the longest common subsequence of each reference with its hypothesis."""
    masks = _masks(hypotheses, references, image)  # (T,)
    order = np.argsort(-references.length, kind="stable")
    start, length = references.start[:-1][order], references.length[order]
    state = np.full(len(order), ~np.uint64(0))
    for step in range(int(length[0])):
        active = int(np.searchsorted(-length, -step, side="left"))  # references longer than `step`
        mask, old = masks[start[:active] + step], state[:active]
        shared = old & mask
        state[:active] = (old + shared) | (old - shared)
    bits = np.minimum(hypotheses.length[image][order], _BITS).astype(np.uint64)
    common = np.empty(len(order), dtype=np.int64)
    common[order] = np.bitwise_count(~state & (~np.uint64(0) >> (np.uint64(_BITS) - bits)))
    for place in np.flatnonzero(hypotheses.length[image] > _BITS).tolist():
        common[place] = _common_long(_words(hypotheses, image[place]), _words(references, place))
    return common


def _masks(hypotheses: Sentences, references: Sentences, image: Ints) -> NDArray[np.uint64]:
    """Return (T,) for each word of the references, its positions in the hypothesis, as bits."""
    scale = int(max(hypotheses.words.max(), references.words.max())) + 1
    owner = hypotheses.owner()
    place = (np.arange(len(owner)) - hypotheses.start[owner]).astype(np.uint64)
    key = owner * scale + hypotheses.words
    order = np.argsort(key)
    first = np.flatnonzero(is_first(key[order]))
    bits = np.bitwise_or.reduceat((np.uint64(1) << np.minimum(place, _BITS - 1))[order], first)
    index = find(key[order][first], image[references.owner()] * scale + references.words)
    return np.where(index >= 0, bits[index], np.uint64(0))


def _words(sentences: Sentences, index: int) -> list[int]:
    words: list[int] = sentences.words[sentences.start[index] : sentences.start[index + 1]].tolist()
    return words


def _common_long(hypothesis: list[int], reference: list[int]) -> int:
    """Return the length for one pair, with an integer of any size; captions of more than 64 tokens are rare."""
    masks: dict[int, int] = {}
    for place, word in enumerate(hypothesis):
        masks[word] = masks.get(word, 0) | 1 << place
    full = (1 << len(hypothesis)) - 1
    state = full
    for word in reference:
        shared = state & masks.get(word, 0)
        state = ((state + shared) | (state - shared)) & full
    return (~state & full).bit_count()

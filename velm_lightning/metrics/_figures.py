"""Counts n-grams of hypotheses against references, and computes BLEU and CIDEr-D from the counts, on arrays only.

All constants and peculiarities are those of coco-caption; `captions` cites the definitions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from velm_lightning.metrics._ngrams import (
    ORDERS,
    Floats,
    Ints,
    WordArrays,
    counted,
    find,
    numbered,
    offsets,
    pack,
    unpack,
)
from velm_lightning.metrics.references import Order, References

_SMALL, _TINY = 1e-9, 1e-15  # in BLEU's divisions
_SIGMA = 6.0  # of CIDEr-D's length penalty


class Counted(NamedTuple):
    """The n-grams of S hypotheses for one n.

    Attributes:
        sentence: (H,) the hypothesis.
        times: (H,) how often it has the n-gram.
        gram: (H,) the n-gram's number among the references, -1 if they do not contain it.
    """

    sentence: Ints
    times: Ints
    gram: Ints


def counted_against(references: References, words: WordArrays) -> list[Counted]:
    """Count the n-grams of hypotheses for n = 1…4 and look them up among the references.

    Args:
        references: the index.
        words: the hypotheses, their vocabulary a continuation of the references'.
    """
    known_words = len(references.words.vocabulary)
    known = np.zeros(1, dtype=np.int64)  # (distinct n-grams of the hypotheses,) their number among the references
    result = []
    for grams, order in zip(numbered(words.sentences, len(words.vocabulary)), references.orders, strict=True):
        prefix = known[grams.prefix]
        in_references = (prefix >= 0) & (grams.last < known_words)
        known = np.where(in_references, find(order.table, pack(prefix, grams.last, known_words)), -1)
        key, times = counted(pack(grams.sentence, grams.gram, len(known)))
        sentence, gram = unpack(key, len(known))
        result.append(Counted(sentence, times, known[gram]))
    return result


def bleu(grams: list[Counted], length: Ints, references: References) -> tuple[Floats, Floats]:
    """Return BLEU-1…4 of the corpus, (4,), and of each sample, (N, 4).

    Counts are clipped at the largest count in any reference; the brevity penalty uses the closest reference length,
    the shorter one on a tie.

    Args:
        grams: n-grams of the hypotheses for n = 1…4.
        length: (N,) their lengths in words.
        references: the index of the same N images.
    """
    correct = np.stack(
        [_clipped(c, o, len(length)) for c, o in zip(grams, references.orders, strict=True)], 1
    )  # (N, 4)
    guessed = np.maximum(0, length[:, None] - np.arange(ORDERS))  # (N, 4)
    closest = _closest_length(length, references)  # (N,)
    samples = _combine(correct, guessed, length, closest)
    corpus = _combine(correct.sum(0)[None], guessed.sum(0)[None], length.sum()[None], closest.sum()[None])
    return corpus[0], samples


def cider_d(grams: list[Counted], length: Ints, references: References, image: Ints) -> Floats:
    """Return (S,) CIDEr-D: the mean over n and over references of the similarity to each, times 10.

    The tf-idf of a hypothesis is clipped at that of the reference, and multiplied by a Gaussian of the difference in
    length, counted in bigrams.

    Args:
        grams: n-grams of the hypotheses for n = 1…4.
        length: (S,) their lengths in words.
        references: the index.
        image: (S,) the place in the index of each hypothesis' image.
    """
    each = np.diff(references.start)[image]  # (S,) references of each hypothesis
    pair = offsets(each)  # (S + 1,) the first pair of each hypothesis
    hypothesis = np.repeat(np.arange(len(image)), each)  # (P,)
    caption = np.arange(pair[-1]) + (references.start[image] - pair[:-1])[hypothesis]  # (P,)
    similarity = np.zeros(len(caption))
    for of_n, order in zip(grams, references.orders, strict=True):
        first = pair[:-1] - references.start[image]  # (S,) pair = first + caption
        similarity += _cosine(of_n, order, image, first, hypothesis, caption)
    bigrams = np.maximum(0, length - 1)[hypothesis] - np.maximum(0, references.words.sentences.length - 1)[caption]
    similarity *= np.exp(-(bigrams**2) / (2 * _SIGMA**2))
    return np.bincount(hypothesis, weights=similarity, minlength=len(image)) / ORDERS / each * 10.0


def _clipped(grams: Counted, order: Order, samples: int) -> Ints:
    """Return (N,) the number of n-grams of each hypothesis that match, each clipped at its largest reference count."""
    cell, known = _cells(grams, order, grams.sentence)
    matches = np.minimum(grams.times[known], order.most[cell])
    return np.bincount(grams.sentence[known], weights=matches, minlength=samples).astype(np.int64)


def _closest_length(length: Ints, references: References) -> Ints:
    """Return (N,) the length of the reference that is closest in length, the shorter one on a tie."""
    reference = references.words.sentences.length
    scale = int(reference.max()) + 1
    key = np.abs(reference - length[references.image]) * scale + reference
    return np.asarray(np.minimum.reduceat(key, references.start[:-1]) % scale)


def _combine(correct: Ints, guessed: Ints, length: Ints, closest: Ints) -> Floats:
    """Return (N, 4): geometric means of the precisions, times the brevity penalty."""
    precision = (correct + _TINY) / (guessed + _SMALL)
    means = np.cumprod(precision, axis=1) ** (1 / np.arange(1, ORDERS + 1))
    ratio = np.minimum((length + _TINY) / (closest + _SMALL), 1)
    return np.asarray(means * np.exp(1 - 1 / ratio)[:, None])


def _cosine(grams: Counted, order: Order, image: Ints, first: Ints, hypothesis: Ints, caption: Ints) -> Floats:
    """Return (P,) the clipped cosine of the tf-idf vectors of each pair, for one n; 0 if a vector is 0."""
    weight = grams.times * order.idf[grams.gram]
    norm = np.sqrt(np.bincount(grams.sentence, weights=weight**2, minlength=len(image)))
    cell, known = _cells(grams, order, image[grams.sentence])
    entries = np.diff(order.start)[cell]  # references of the cell
    start = offsets(entries)
    entry = np.arange(start[-1]) + np.repeat(order.start[cell] - start[:-1], entries)
    gram = np.repeat(known, entries)
    shared = np.minimum(weight[gram], order.weight[entry]) * order.weight[entry]
    pair = first[grams.sentence[gram]] + order.caption[entry]
    product = norm[hypothesis] * order.norm[caption]
    return np.bincount(pair, weights=shared, minlength=len(caption)) / np.where(product > 0, product, 1)


def _cells(grams: Counted, order: Order, image: Ints) -> tuple[Ints, Ints]:
    """Return the cells (image, n-gram) that hypotheses share with their references, and the indices in ``grams``."""
    known = np.flatnonzero(grams.gram >= 0)
    cell = find(order.cell, pack(image[known], grams.gram[known], len(order.table)))
    return cell[cell >= 0], known[cell >= 0]

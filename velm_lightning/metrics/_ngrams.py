"""Represents sentences as flat arrays of word numbers, and their n-grams as numbers, so that captions are scored fast.

Nothing is hashed: the number of an n-gram is its rank among the distinct pairs (number of its first n - 1 words, last
word), so that equal numbers mean equal n-grams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ORDERS = 4
"""BLEU-1…4 and CIDEr-D use n-grams of one to four words."""


class WordIds(dict[str, int]):
    """Word to number; a new word gets the next one."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class Sentences(NamedTuple):
    """S sentences, one after another.

    Attributes:
        words: (T,) word numbers.
        start: (S + 1,) the offset of each sentence in ``words``, and the end.
    """

    words: Ints
    start: Ints

    @property
    def length(self) -> Ints:
        """(S,) number of words."""
        return np.diff(self.start)

    def take(self, index: Ints) -> Sentences:
        """Return the sentences at ``index``, which may contain repetitions."""
        length = self.length[index]
        start = offsets(length)
        return Sentences(self.words[np.repeat(self.start[index] - start[:-1], length) + np.arange(start[-1])], start)

    def owner(self) -> Ints:
        """(T,) the sentence that each word belongs to."""
        return np.repeat(np.arange(len(self.start) - 1), self.length)


class WordArrays(NamedTuple):
    """Sentences and the vocabulary that numbers them."""

    sentences: Sentences
    vocabulary: WordIds

    @staticmethod
    def of(lines: Sequence[str], known: WordIds | None = None, *, at_blanks_only: bool = False) -> WordArrays:
        """Number the words of S lines of tokens, continuing a copy of a known vocabulary.

        BLEU and CIDEr split at any white space. ROUGE-L splits at blanks only: it keeps words with a no-break space,
        and an empty line is one empty word.
        """
        vocabulary = WordIds(known or {})
        if at_blanks_only or splits_alike(lines):
            words = " ".join(lines).split(" ") if lines else []
            length = [line.count(" ") + 1 for line in lines]
        else:
            words = " ".join(lines).split()
            length = [len(line.split()) for line in lines]
        numbers = np.fromiter(map(vocabulary.__getitem__, words), dtype=np.int64, count=len(words))
        return WordArrays(Sentences(numbers, offsets(np.array(length, dtype=np.int64))), vocabulary)


def splits_alike(lines: Sequence[str]) -> bool:
    """Return whether lines are split alike at blanks and at any white space."""
    joined = " ".join(lines)
    return joined.isprintable() and "  " not in f" {joined} "


class Numbered(NamedTuple):
    """The n-grams of S sentences for one n.

    Attributes:
        sentence: (P,) the sentence of each n-gram that occurs.
        gram: (P,) its number.
        prefix: (G,) of each distinct n-gram, the number of its first n - 1 words; zeros for n = 1.
        last: (G,) of each distinct n-gram, the number of its last word.
    """

    sentence: Ints
    gram: Ints
    prefix: Ints
    last: Ints


def numbered(sentences: Sentences, vocabulary_size: int) -> Iterator[Numbered]:
    """Number the n-grams for n = 1…4."""
    words, owner = sentences.words, sentences.owner()
    place = np.arange(len(words))  # the starts of n-grams that end within their sentence
    gram = np.zeros(len(words), dtype=np.int64)  # (T,) number of the n-gram that starts at each place
    for n in range(1, ORDERS + 1):
        place = place[: np.searchsorted(place, len(words) - n, side="right")]
        place = place[owner[place] == owner[place + n - 1]]
        ranks, keys = rank(pack(gram[place], words[place + n - 1], vocabulary_size))
        gram[place] = ranks
        yield Numbered(owner[place], ranks, *unpack(keys, vocabulary_size))


def pack(high: Ints, low: Ints, size: int) -> Ints:
    """Return one key for a pair of numbers, the second of which is below ``size``; keys sort as the pairs do."""
    return (high << size.bit_length()) | low


def unpack(keys: Ints, size: int) -> tuple[Ints, Ints]:
    """Return the pairs of `pack`."""
    bits = size.bit_length()
    return keys >> bits, keys & ((1 << bits) - 1)


def offsets(length: Ints) -> Ints:
    """Return (S + 1,) running sums from 0 of (S,) lengths."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(length)))


def rank(keys: Ints) -> tuple[Ints, Ints]:
    """Return the (K,) rank of each key among the distinct ones, and the (U,) distinct keys, sorted."""
    order = np.argsort(keys)
    ordered = keys[order]
    fresh = is_first(ordered)
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[order] = np.cumsum(fresh) - 1
    return ranks, ordered[fresh]


def counted(keys: Ints) -> tuple[Ints, Ints]:
    """Return the (U,) distinct keys, sorted, and how often each occurs."""
    ordered = np.sort(keys)
    start = np.flatnonzero(is_first(ordered))
    return ordered[start], np.diff(start, append=len(ordered))


def is_first(ordered: Ints) -> NDArray[np.bool_]:
    """Return (K,) whether each sorted key differs from the one before it."""
    fresh = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    return fresh


def find(table: Ints, keys: Ints) -> Ints:
    """Return the place of each key in a sorted table of distinct keys, -1 if it is missing."""
    if len(table) == 0:
        return np.full(len(keys), -1, dtype=np.int64)
    place = np.searchsorted(table, keys)
    place[place == len(table)] = 0
    return np.where(table[place] == keys, place, -1)

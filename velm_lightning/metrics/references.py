"""Indexes the reference captions of a split, tokenised once and used in every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from velm_lightning.metrics._ngrams import (
    Floats,
    Ints,
    Numbered,
    WordArrays,
    counted,
    numbered,
    offsets,
    pack,
    splits_alike,
    unpack,
)
from velm_lightning.metrics.ptb import ptb_tokenise_all
from velm_lightning.types import InputError

Key = str | int
"""The key of an image: a number in COCO, a name in other data sets."""

CaptionsOf = Mapping[Any, Sequence[str]] | Sequence[Sequence[str]]
"""The captions of each image by its `Key`, or a list for images 0…N - 1."""


class Order(NamedTuple):
    """The n-grams of the references for one n: G distinct ones, C cells (image, n-gram), E entries (cell, caption).

    Attributes:
        table: (G,) sorted pairs (number of the first n - 1 words, last word), packed.
        idf: (G + 1,) log(images) - log(images whose references have it); the last is for any that none has.
        cell: (C,) sorted pairs (image, n-gram), packed.
        most: (C,) the largest count of the n-gram in any caption of the image.
        start: (C + 1,) the offset of the entries of each cell in ``caption``, and the end.
        caption: (E,) number of the caption.
        weight: (E,) tf-idf.
        norm: (captions,) length of the caption's tf-idf vector.
    """

    table: Ints
    idf: Floats
    cell: Ints
    most: Ints
    start: Ints
    caption: Ints
    weight: Floats
    norm: Floats


class References:
    """The reference captions of N images, indexed on first use; the index serves any number of scorings.

    Args:
        references: the captions of each image; for a list, the images are 0…N - 1.
        tokenise: pass the captions through the PTB tokeniser first; False if they are tokens joined by blanks.

    Raises:
        InputError: If there are no images, an image has no references, or a reference is not a string.
    """

    def __init__(self, references: CaptionsOf, *, tokenise: bool = True) -> None:
        by_key: Mapping[Key, Sequence[str]] = (
            references if isinstance(references, Mapping) else dict(enumerate(references))
        )
        _check(by_key)
        self.keys: tuple[Key, ...] = tuple(by_key)
        flat = [caption for captions in by_key.values() for caption in captions]
        self.lines: list[str] = ptb_tokenise_all(flat) if tokenise else flat
        self.start: Ints = offsets(
            np.array([len(captions) for captions in by_key.values()], dtype=np.int64)
        )  # (N + 1,)
        self.tokenised = tokenise

    def __len__(self) -> int:
        return len(self.keys)

    def places(self, keys: Iterable[Key]) -> Ints:
        """Return the place among the images of each key.

        Raises:
            InputError: If a key has no references.
        """
        try:
            return np.array([self._place[key] for key in keys], dtype=np.int64)
        except KeyError as error:
            raise InputError(
                f"image {error.args[0]!r} has no references: score only images of the reference file"
            ) from None

    def only(self, keys: Iterable[Key]) -> References:
        """Return the references of some images, in the order given; idf is computed again, as by coco-caption.

        Raises:
            InputError: If a key has no references, or there are no keys.
        """
        keys = tuple(keys)
        lines = {
            key: self.lines[self.start[at] : self.start[at + 1]]
            for key, at in zip(keys, self.places(keys), strict=True)
        }
        part = References(lines, tokenise=False)
        part.tokenised = self.tokenised
        return part

    @cached_property
    def _place(self) -> dict[Key, int]:
        return {key: place for place, key in enumerate(self.keys)}

    @cached_property
    def image(self) -> Ints:
        """(captions,) the image that each caption belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    @cached_property
    def words(self) -> WordArrays:
        """The captions as BLEU and CIDEr split them, at any white space."""
        return WordArrays.of(self.lines)

    @cached_property
    def words_at_blanks(self) -> WordArrays:
        """The captions as ROUGE-L splits them, at blanks only; usually the same as ``words``."""
        return self.words if splits_alike(self.lines) else WordArrays.of(self.lines, at_blanks_only=True)

    @cached_property
    def orders(self) -> tuple[Order, ...]:
        """The index for n = 1…4."""
        size = len(self.words.vocabulary)
        return tuple(self._order(grams, size) for grams in numbered(self.words.sentences, size))

    def _order(self, grams: Numbered, vocabulary_size: int) -> Order:
        """Index the n-grams of one n."""
        total, widest = len(grams.last), int(np.diff(self.start).max())
        image = self.image[grams.sentence]
        entry, times = counted(pack(pack(image, grams.gram, total), grams.sentence - self.start[image], widest))
        of_entry, within = unpack(entry, widest)
        cell, entries = counted(of_entry)
        start = offsets(entries)
        of_image, gram = unpack(cell, total)
        idf = np.log(len(self)) - np.log(np.maximum(1, np.bincount(gram, minlength=total + 1)))
        weight = times * np.repeat(idf[gram], entries)
        caption = np.repeat(self.start[of_image], entries) + within
        return Order(
            table=pack(grams.prefix, grams.last, vocabulary_size),
            idf=idf,
            cell=cell,
            most=np.maximum.reduceat(times, start[:-1]) if len(cell) else times,
            start=start,
            caption=caption,
            weight=weight,
            norm=np.sqrt(np.bincount(caption, weights=weight**2, minlength=len(self.lines))),
        )


def _check(references: Mapping[Key, Sequence[str]]) -> None:
    """Raise InputError for references that cannot be used; the message names the image and the fix."""
    if not references:
        raise InputError("references: there are none; give at least one image with its captions")
    for key, captions in references.items():
        if isinstance(captions, str) or not isinstance(captions, Sequence):
            raise InputError(f"references of image {key!r}: expected a list of captions, got {captions!r}")
        if len(captions) == 0:
            raise InputError(f"references of image {key!r}: the list is empty; leave the image out or add a caption")
        for caption in captions:
            if not isinstance(caption, str):
                raise InputError(f"references of image {key!r}: expected strings, got {caption!r} among them")

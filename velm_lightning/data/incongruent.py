"""Incongruent images: every sample gets the image of another sample, to measure how much a model uses it."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import Any

import torch

from velm_lightning.io.digests import contents_of
from velm_lightning.io.seeding import stable_generator
from velm_lightning.types import Image, InputError, Sample

_log = logging.getLogger(__name__)


def with_other_images(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Return the samples with their images permuted: incongruent decoding (Elliott 2018).

    The images of conversations are permuted one by one, so that each keeps their number. The permutation is a function
    of the seed and the split; see ``permuted``. If more than half of the samples have the same image, some keep it,
    and a message states how many.

    Raises:
        InputError: The split has fewer than two different images.
    """
    images = [image for sample in samples for image in _images_of(sample)]
    contents = contents_of(images)
    if len(set(contents)) < 2:
        raise InputError("data.incongruent=true needs at least two different images in a split, got one")
    places = permuted(contents, seed, "incongruent")
    if same := unchanged(contents, places):
        total = len(images)
        _log.warning("data.incongruent: %d of %d samples keep their image, because most have the same one", same, total)
    others = iter([images[place] for place in places])
    return [_with_images(sample, [next(others) for _ in _images_of(sample)]) for sample in samples]


def _images_of(sample: Sample) -> Sequence[Image]:
    """Return the images of a sample that are permuted: one image or clip, or those of a conversation."""
    return sample.image if sample.turns and isinstance(sample.image, tuple) else (sample.image,)


def _with_images(sample: Sample, images: Sequence[Any]) -> Sample:
    return sample._replace(image=tuple(images) if sample.turns else images[0])


def permuted(contents: Sequence[Hashable], *seed: object) -> list[int]:
    """Return a random permutation of N places in which as few places as possible keep their content.

    Every place is used exactly once, so that each content stays as frequent as it was (Gat et al. 2021). A place keeps
    its content only if one content fills more than half of the places: then 2 * its count - N places do. The
    permutation is drawn at random; the places that would keep their content then swap with random others.

    Args:
        contents: (N,) content of each place.
        seed: Values that, with the contents, determine the permutation.

    Example:
        >>> permuted("ab", 0)
        [1, 0]
    """
    numbers: dict[Hashable, int] = {}
    held = torch.tensor([numbers.setdefault(content, len(numbers)) for content in contents], dtype=torch.long)  # (N,)
    generator = stable_generator(*seed)
    order = torch.randperm(len(held), generator=generator)
    for number in sorted(set(held[held[order] == held].tolist())):
        stuck = ((held == number) & (held[order] == number)).nonzero().flatten()
        free = ((held != number) & (held[order] != number)).nonzero().flatten()
        free = free[torch.randperm(len(free), generator=generator)[: len(stuck)]]
        stuck = stuck[: len(free)]
        order[stuck], order[free] = order[free], order[stuck]
    return order.tolist()


def unchanged(contents: Sequence[Hashable], places: Sequence[int]) -> int:
    """Return the number of places that keep their content under a permutation."""
    return sum(contents[place] == content for place, content in zip(places, contents, strict=True))

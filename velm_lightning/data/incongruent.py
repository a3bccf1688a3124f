"""Another sample's image or text for every sample: how much a model uses it shows in what the wrong one costs."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence

import torch

from velm_lightning.io.digests import contents_of
from velm_lightning.io.seeding import stable_generator
from velm_lightning.types import InputError, Sample


def with_other_pictures(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Return the samples with their pictures permuted: incongruent decoding (Elliott 2018).

    A function of the seed and of the split; see ``permuted``. If more than half of the samples show one picture, some
    keep it, and a note states how many.

    Raises:
        InputError: the split has fewer than two different pictures.
    """
    contents = contents_of([sample.image for sample in samples])
    if len(set(contents)) < 2:
        raise InputError("data.incongruent=true needs two different pictures or more in a split, and there is one")
    places = permuted(contents, seed, "incongruent")
    if same := unchanged(contents, places):
        print(
            f"data.incongruent: {same} of {len(samples)} samples keep their picture, because most show the same",
            file=sys.stderr,
        )
    return [sample._replace(image=samples[place].image) for sample, place in zip(samples, places, strict=True)]


def permuted(contents: Sequence[Hashable], *seed: object) -> list[int]:
    """Return a random permutation of N places in which as few as possible hold the content that they had.

    Every place is used exactly once, so that each content stays as frequent as it was (Gat et al. 2021). A place keeps
    its content only if one content fills more than half of the places: then 2 * its count - N places do. The
    permutation is drawn at random; the places that would keep their content then swap with random others.

    Args:
        contents: (N,) what each place holds; equal contents are the same thing.
        seed: what the permutation is a function of, besides the contents.

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
    """Return how many of N places hold, after a permutation, the content that they had."""
    return sum(contents[place] == content for place, content in zip(places, contents, strict=True))

"""Another picture for every sample: whether a model looks at its picture shows in what the wrong one costs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch

from velm_lightning.data.images import distinct
from velm_lightning.stable import stable_number
from velm_lightning.types import InputError, Sample


def with_other_pictures(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Return the samples with the pictures of others: incongruent decoding (Elliott 2018).

    The pictures of the split change places in one random cycle: none stays, each is shown in the place of one other,
    and samples that shared a picture still do. It is a function of the seed and of the split.

    Raises:
        InputError: the split has fewer than two pictures.
    """
    _, rows = distinct([sample.image for sample in samples])
    keys = [tuple(row) for row in rows.view(len(samples), -1).tolist()]  # a clip is one picture
    if len(set(keys)) < 2:
        raise InputError("data.incongruent=true needs two different pictures or more in a split, and there is one")
    places = exchanged(keys, stable_number(seed, "incongruent"))
    return [sample._replace(image=samples[place].image) for sample, place in zip(samples, places, strict=True)]


def exchanged(things: Sequence[Hashable], seed: int) -> list[int]:
    """Return for each place one that holds another thing: things change places in one random cycle.

    Places that held the same thing still do, and no thing stays unless it is the only one.
    """
    first = {thing: place for place, thing in reversed(list(enumerate(things)))}
    names = list(dict.fromkeys(things))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    turns = zip(order.tolist(), order.roll(1).tolist(), strict=True)
    other = {names[place]: first[names[before]] for place, before in turns}
    return [other[thing] for thing in things]

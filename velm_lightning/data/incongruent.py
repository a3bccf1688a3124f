"""Another picture for every sample: whether a model looks at its picture shows in what the wrong one costs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from velm_lightning.data.images import distinct
from velm_lightning.data.order import stable_seed
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
    pictures = {key: sample.image for key, sample in zip(keys, samples, strict=True)}
    if len(pictures) < 2:
        raise InputError("data.incongruent=true needs two different pictures or more in a split, and there is one")
    generator = torch.Generator().manual_seed(stable_seed(seed, "incongruent"))
    names, order = list(pictures), torch.randperm(len(pictures), generator=generator)
    places = zip(order.tolist(), order.roll(1).tolist(), strict=True)
    other = {names[place]: pictures[names[before]] for place, before in places}
    return [sample._replace(image=other[key]) for key, sample in zip(keys, samples, strict=True)]

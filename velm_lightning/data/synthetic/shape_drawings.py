"""Generated captions of one or two things with matching images, for image generation."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.synthetic.shape_scenes import Scenes
from velm_lightning.data.synthetic.shapes.scene import (
    COLOURS,
    GRID,
    JITTER,
    SHAPES,
    Scene,
    Thing,
    describe,
    generator,
    pick,
)
from velm_lightning.types import Sample

_DRAWING, PARTS = 3, 8
"""The random stream, and the number of parts of the captions of two things: one is validation, one test."""

CENTRE, FIRST, LAST = GRID // 2, 0, GRID - 1
LAYOUTS = {
    "one thing": ((CENTRE, CENTRE),),
    "left of": ((CENTRE, FIRST), (CENTRE, LAST)),
    "right of": ((CENTRE, LAST), (CENTRE, FIRST)),
    "above": ((FIRST, CENTRE), (LAST, CENTRE)),
    "below": ((LAST, CENTRE), (FIRST, CENTRE)),
}
"""Rows and columns of the things of a caption."""


class ShapeDrawings(Scenes):
    """Captions for image generation, e.g. "a blue star above a green square"; the arguments are those of `Scenes`.

    A third of the captions name one thing, in the group ``one thing``; the others name two that differ, in the group
    of their relation: ``left of``, ``right of``, ``above``, ``below``. Captions of two things are in one split only, so
    that those of validation and test are new; the 24 of one thing are in every split. All things are
    large. One lies in the centre, two on opposite sides of it, with a small jitter.
    """

    @override
    def scene(self, name: str, index: int) -> Scene:
        rng = generator(self.seed, name, index, _DRAWING)
        group = "one thing" if rng.random() < 1 / 3 else pick(rng, tuple(LAYOUTS)[1:])
        while True:
            scene = _drawn(group, rng)
            if len(scene.things) == 1 or split_of(scene) == name:
                return scene

    @override
    def _samples_of(
        self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor
    ) -> Iterator[Sample]:
        asked, group = caption(scene)
        yield Sample(key, image, asked, None, (asked,), group)


def _drawn(group: str, rng: np.random.Generator) -> Scene:
    """Draw things that differ in colour or shape, in the relation of the group."""
    places = LAYOUTS[group]
    kinds = rng.permutation(len(COLOURS) * len(SHAPES))[: len(places)].tolist()
    things = []
    for kind, place in zip(kinds, places, strict=True):
        y, x = ((np.array(place) + 0.5) / GRID + rng.uniform(-JITTER, JITTER, 2)).tolist()
        colour, shape = divmod(kind, len(SHAPES))
        things.append(Thing("large", COLOURS[colour], SHAPES[shape], x, y))
    return Scene(tuple(things), ())


def caption(scene: Scene) -> tuple[str, str]:
    """Return the caption of a scene and its group."""
    places = tuple((thing.row, thing.column) for thing in scene.things)
    group = next(name for name, layout in LAYOUTS.items() if layout == places)
    names = [f"a {describe(thing, 'colour shape').noun()}" for thing in scene.things]
    return f" {group} ".join(names), group


def split_of(scene: Scene) -> str:
    """Return the split to which the caption of a scene belongs."""
    part = zlib.crc32(caption(scene)[0].encode()) % PARTS
    return {0: "val", 1: "test"}.get(part, "train")

"""The embedded drawings: captions of one or two things, and pictures that show what they say."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from velm_lightning.data.shape_scenes import Scenes
from velm_lightning.data.shapes.scene import (
    COLOURS,
    DIRECTIONS,
    GRID,
    JITTER,
    SHAPES,
    Scene,
    Thing,
    describe,
    generator,
    pick,
)  # fmt: skip
from velm_lightning.types import Sample

_DRAWING, PARTS = 3, 8
"""The stream of random numbers, and into how many parts captions of two things are cut: all but two are trained on."""


class ShapeDrawings(Scenes):
    """Captions to draw by: "a red circle", "a blue star above a green square"; the arguments are those of `Scenes`.

    A third of the captions name one thing, in the group ``one thing``; the others name two that differ, in the group
    of how they lie: ``left of``, ``right of``, ``above``, ``below``. Captions of two things are in one split only, so
    that validation and test ask for what has never been drawn; the 24 of one thing are in every split. All things are
    large, and lie somewhere on the grid.
    """

    def scene(self, name: str, index: int) -> Scene:
        """See ``Scenes.scene``."""
        rng = generator(self.seed, name, index, _DRAWING)
        if rng.random() < 1 / 3:
            return Scene(_things(1, rng), ())
        direction = pick(rng, tuple(DIRECTIONS))
        while True:
            things = _things(2, rng)
            if DIRECTIONS[direction](*things) and part_of(scene := Scene(things, ())) == name:
                return scene

    def _say(self, split: str, scene: Scene, rng: np.random.Generator, key: str, image: Tensor) -> Iterator[Sample]:
        asked, group = _asked(scene)
        yield Sample(key, image, asked, None, (asked,), group)


def _things(count: int, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Draw things that differ in colour or shape, each in a cell of its own."""
    kinds, cells = (rng.permutation(options)[:count].tolist() for options in (len(COLOURS) * len(SHAPES), GRID * GRID))
    return tuple(_thing(kind, cell, rng) for kind, cell in zip(kinds, cells, strict=True))


def _thing(kind: int, cell: int, rng: np.random.Generator) -> Thing:
    (colour, shape), (row, column) = divmod(kind, len(SHAPES)), divmod(cell, GRID)
    x, y = (np.array([column, row]) + 0.5) / GRID + rng.uniform(-JITTER, JITTER, 2)
    return Thing("large", COLOURS[colour], SHAPES[shape], float(x), float(y))


def _asked(scene: Scene) -> tuple[str, str]:
    """Return the caption of a scene and its group.

    Of two directions that hold, the caption gives one, whichever: it is a function of the things and their cells.
    """
    names = [f"a {describe(thing, 'colour shape').noun()}" for thing in scene.things]
    if len(names) == 1:
        return names[0], "one thing"
    holding = [direction for direction, holds in DIRECTIONS.items() if holds(*scene.things)]
    cells = [(thing.row, thing.column) for thing in scene.things]
    direction = holding[zlib.crc32(f"{names}{cells}".encode()) % len(holding)]
    return f"{names[0]} {direction} {names[1]}", direction


def part_of(scene: Scene) -> str:
    """Return the split to which the caption of a scene belongs."""
    part = zlib.crc32(_asked(scene)[0].encode()) % PARTS
    return {0: "val", 1: "test"}.get(part, "train")

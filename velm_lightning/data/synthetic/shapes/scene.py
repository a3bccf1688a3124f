"""Scenes of coloured shapes, drawn at random so that every answer is equally likely.

The distribution is symmetric: exchanging two colours, two shapes, the sizes or two directions everywhere leaves it
unchanged. The words of a question therefore carry no information on the requested colour or shape. Counts have no such
symmetry; they are drawn first, uniformly, and the scene is built around them (`Scene.counted`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from velm_lightning.types import SPLITS

T = TypeVar("T")

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = ("red", "green", "blue", "yellow", "purple", "black")
SIZES = ("small", "large")
GRID = 3
"""Things are near the centres of GRID x GRID cells, at most one per cell."""
JITTER = 0.04 / GRID
"""Maximum distance of a centre from that of its cell, relative to the image side."""
RADIUS = {"small": 0.30 / GRID, "large": 0.45 / GRID}
"""Radius of a circle relative to the image side; the other shapes cover a similar area."""
FEWEST, MOST, HIGHEST_COUNT = 1, 4, 3


class Thing(NamedTuple):
    """One coloured shape; ``x`` grows to the right and ``y`` downwards, both 0…1 over the image."""

    size: str
    colour: str
    shape: str
    x: float
    y: float

    @property
    def column(self) -> int:
        """Cell from the left, 0…GRID-1."""
        return int(self.x * GRID)

    @property
    def row(self) -> int:
        """Cell from the top, 0…GRID-1."""
        return int(self.y * GRID)

    @property
    def place(self) -> str:
        """Location of the thing in words that are unique to its cell: "in the top left"."""
        return PLACES[self.row * GRID + self.column]


class Wording(NamedTuple):
    """A description by size, colour and shape, of which ``None`` is unspecified: "large red shape", "circle"."""

    size: str | None = None
    colour: str | None = None
    shape: str | None = None

    def fits(self, thing: Thing) -> bool:
        """Return whether the words describe ``thing``."""
        return (
            (self.colour is None or self.colour == thing.colour)
            and (self.shape is None or self.shape == thing.shape)
            and (self.size is None or self.size == thing.size)
        )

    def noun(self, plural: bool = False, anything: str = "shape") -> str:
        """Return the words in English, with ``anything`` for an unspecified shape."""
        words = [word for word in (self.size, self.colour, self.shape or anything) if word]
        return " ".join(words) + ("s" if plural else "")


class Scene(NamedTuple):
    """Things that do not overlap, and the descriptions whose count (0…HIGHEST_COUNT) was drawn first."""

    things: tuple[Thing, ...]
    counted: tuple[Wording, ...]

    def all(self, words: Wording) -> list[Thing]:
        """Return the things that ``words`` describe."""
        return [thing for thing in self.things if words.fits(thing)]

    def count(self, words: Wording) -> int:
        """Return how many things ``words`` describe."""
        return sum(map(words.fits, self.things))

    def name(self, thing: Thing, *mentioned: str) -> Wording | None:
        """Return the first of these descriptions ("shape", "size shape") that only ``thing`` fits, or None."""
        options = (describe(thing, attributes) for attributes in mentioned)
        return next((words for words in options if self.count(words) == 1), None)

    def named(self, *mentioned: str) -> list[tuple[Thing, Wording]]:
        """Return the things that one of these descriptions identifies, with the first such description."""
        return [(thing, words) for thing in self.things if (words := self.name(thing, *mentioned))]


DIRECTIONS: dict[str, Callable[[Thing, Thing], bool]] = {
    "left of": lambda a, b: a.column < b.column,
    "right of": lambda a, b: a.column > b.column,
    "above": lambda a, b: a.row < b.row,
    "below": lambda a, b: a.row > b.row,
}
PLACES = tuple(
    "in the centre" if (row, column) == ("middle", "middle") else f"in the {row} {column}"
    for row in ("top", "middle", "bottom")
    for column in ("left", "middle", "right")
)
"""Names of the cells of the grid, in reading order."""
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
"""A thing in the same column is neither left nor right; cells keep the two cases well apart in the image."""


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Return one of the options, with equal probability."""
    return options[int(rng.random() * len(options))]


def describe(thing: Thing, mentioned: str) -> Wording:
    """Return the attributes of ``thing`` that ``mentioned`` names: "colour shape"."""
    return Wording(
        thing.size if "size" in mentioned else None,
        thing.colour if "colour" in mentioned else None,
        thing.shape if "shape" in mentioned else None,
    )


@cache
def vocabulary(mentioned: str) -> tuple[Wording, ...]:
    """Return every description by the attributes named in ``mentioned``."""
    kinds = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}
    names = mentioned.split()
    return tuple(
        Wording(**dict(zip(names, values, strict=True))) for values in product(*(kinds[name] for name in names))
    )


def generator(seed: int, split: str, index: int, stream: int) -> np.random.Generator:
    """Return the random generator of one scene and purpose (``stream``), independent of all others."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, SPLITS.index(split), index, stream))))


def draw(rng: np.random.Generator, split: str, most: int = MOST) -> Scene:
    """Draw a scene of ``split``: the content of the cells determines the split of a scene."""
    colours, shapes, counted = _colours_and_shapes(rng, most)
    sizes = rng.integers(len(SIZES), size=len(colours))
    for _ in range(20):
        cells = rng.permutation(GRID * GRID)[: len(colours)]
        content = np.stack([cells, sizes, colours, shapes]).astype(np.uint8)  # (4, things)
        if zlib.crc32(content[:, cells.argsort()].tobytes()) % len(SPLITS) == SPLITS.index(split):
            break
    else:
        return draw(rng, split, most)
    rows, columns = np.divmod(cells, GRID)
    centres = (np.stack([columns, rows]) + 0.5) / GRID + rng.uniform(-JITTER, JITTER, (2, len(cells)))
    attributes = zip(sizes.tolist(), colours.tolist(), shapes.tolist(), *centres.tolist(), strict=True)
    return Scene(tuple(Thing(SIZES[a], COLOURS[b], SHAPES[c], x, y) for a, b, c, x, y in attributes), counted)


def _colours_and_shapes(
    rng: np.random.Generator, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[Wording, ...]]:
    """Draw counts, then colours and shapes with exactly those counts: of a colour and of a shape, or of a pair."""
    first, second = (int(k) for k in rng.integers(min(HIGHEST_COUNT, most) + 1, size=2))
    colour, shape = int(rng.integers(len(COLOURS))), int(rng.integers(len(SHAPES)))
    if rng.random() < 0.33:
        things = int(rng.integers(max(FEWEST, first), most + 1))
        pairs = _exactly(rng, first, things, colour * len(SHAPES) + shape, len(COLOURS) * len(SHAPES))
        return *np.divmod(pairs, len(SHAPES)), (Wording(colour=COLOURS[colour], shape=SHAPES[shape]),)
    things = int(rng.integers(max(FEWEST, first, second), most + 1))
    colours, shapes = (
        _exactly(rng, first, things, colour, len(COLOURS)),
        _exactly(rng, second, things, shape, len(SHAPES)),
    )
    return colours, shapes, (Wording(colour=COLOURS[colour]), Wording(shape=SHAPES[shape]))


def _exactly(rng: np.random.Generator, count: int, things: int, wanted: int, kinds: int) -> NDArray[np.int64]:
    """Return ``things`` values of ``kinds``, the ``wanted`` one exactly ``count`` times and the rest at random."""
    values = rng.integers(kinds - 1, size=things)
    values += values >= wanted
    values[rng.permutation(things)[:count]] = wanted
    return values

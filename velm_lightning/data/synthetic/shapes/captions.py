"""Five captions per scene, each of another kind."""

from __future__ import annotations

from collections import Counter

import numpy as np

from velm_lightning.data.synthetic.shapes.questions import NUMBERS
from velm_lightning.data.synthetic.shapes.scene import DIRECTIONS, Scene, Thing, Wording, describe, pick


def captions(scene: Scene, rng: np.random.Generator) -> tuple[str, ...]:
    """Return five different captions: two list the things, the others count, relate and locate some of them."""
    listed = _counted(scene, "colour shape")
    return (
        pick(rng, ("{}", "a picture of {}", "there are {}")).format(_join(listed)),
        pick(rng, ("{} and nothing else", "we can see {}", "{} on a light ground")).format(_join(listed[::-1])),
        _count(scene, rng),
        _relate(scene, rng),
        _place(scene, rng),
    )


def _join(parts: list[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _counted(scene: Scene, mentioned: str) -> list[str]:
    """Return "two red circles", "a blue square", …: the most frequent first, then in reading order."""
    ordered = sorted(scene.things, key=lambda thing: (thing.row, thing.column))
    counts = Counter(describe(thing, mentioned) for thing in ordered)
    return [number(words, many) for words, many in counts.most_common()]


def number(words: Wording, many: int) -> str:
    """Return "a red circle" or "three red circles"."""
    return f"a {words.noun()}" if many == 1 else f"{NUMBERS[many]} {words.noun(plural=True)}"


def _count(scene: Scene, rng: np.random.Generator) -> str:
    """Count all things, and those of each colour or shape."""
    total = NUMBERS[len(scene.things)]
    parts = _counted(scene, pick(rng, ("colour", "shape")))
    return pick(rng, ("{} things: {}", "{} things, with {}", "this picture has {} things, namely {}")).format(
        total, _join(parts)
    )


def _relate(scene: Scene, rng: np.random.Generator) -> str:
    """Return a sentence on the relation of two things."""
    options = [
        (a, direction, b)
        for direction, holds in DIRECTIONS.items()
        for a in scene.things
        for b in scene.things
        if holds(a, b) and a[:3] != b[:3]
    ]
    if not options:
        return f"{number(describe(scene.things[0], 'size colour shape'), len(scene.things))} that look the same"
    a, direction, b = pick(rng, options)
    verb = pick(rng, ("is", "lies", "can be seen"))
    return f"{_full(a)} {verb} {direction} {_full(b)}"


def _place(scene: Scene, rng: np.random.Generator) -> str:
    """Return a sentence on the location of one thing."""
    thing = pick(rng, scene.things)
    wordings = ("{1} is {0}", "{0} {1}", "there is {0} {1}")
    return pick(rng, wordings).format(_full(thing), thing.place)


def _full(thing: Thing) -> str:
    return f"a {describe(thing, 'size colour shape').noun()}"

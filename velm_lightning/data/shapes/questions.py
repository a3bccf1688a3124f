"""Questions about a scene whose words alone do not give the answer away.

Each function asks one kind of question, or returns nothing where the scene allows none. None looks at the answer before
the words are fixed, except for yes and no: there both are possible and the answer is drawn first. With the symmetry of
the scenes (see `scene`) every answer is then equally likely whatever the words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from velm_lightning.data.shapes.scene import DIRECTIONS, OPPOSITE, Scene, Words, describe, pick, vocabulary


class Question(NamedTuple):
    """A question, its one answer, and its kind."""

    text: str
    answer: str
    group: str


EXTREMES = {"left of": "leftmost", "right of": "rightmost", "above": "highest", "below": "lowest"}
_OTHER = {"colour": "shape", "shape": "colour"}


def exist(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "is there a red circle?"; where not, there is something red and some circle all the same."""
    for mentioned in rng.permutation(["colour shape", "size shape", "size colour"]).tolist():
        there = [words for words in vocabulary(mentioned) if scene.count(words)]
        missing = [words for words in vocabulary(mentioned) if words not in there and _apart(scene, words)]
        if missing:
            answer = pick(rng, ("yes", "no"))
            words = pick(rng, there if answer == "yes" else missing)
            return Question(f"is there a {words.noun()}?", answer, "exist")
    return None


def _apart(scene: Scene, words: Words) -> bool:
    """Tell whether each word by itself fits something in the scene."""
    return all(any(word in thing for thing in scene.things) for word in words if word is not None)


def count(which: int, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "how many red shapes are there?" about a description whose count was drawn before the scene."""
    if which >= len(scene.counted):
        return None
    words = scene.counted[which]
    return Question(f"how many {words.noun(plural=True)} are there?", str(scene.count(words)), "count")


def attribute(asked: str, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "what colour is the large circle?" or "what shape is the red thing?" about a thing that this tells apart."""
    other = _OTHER[asked]
    named = [(thing, words) for thing in scene.things if (words := scene.name(thing, other, f"size {other}"))]
    if not named:
        return None
    chosen, words = pick(rng, named)
    return Question(f"what {asked} is the {words.noun(anything='thing')}?", getattr(chosen, asked), "attribute")


def whether(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "is the red circle left of the blue square?" about two things that lie so, or the other way round."""
    named = [(t, words) for t in scene.things if (words := scene.name(t, "colour shape", "size colour shape"))]
    options = [
        (a, direction, b)
        for direction, holds in DIRECTIONS.items()
        for first, a in named
        for second, b in named
        if holds(first, second)
    ]
    if not options:
        return None
    a, direction, b = pick(rng, options)
    answer = pick(rng, ("yes", "no"))
    direction = direction if answer == "yes" else OPPOSITE[direction]
    return Question(f"is the {a.noun()} {direction} the {b.noun()}?", answer, "relation")


def beside(asked: str, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "what colour is the shape left of the star?" where only one thing lies there."""
    other = _OTHER[asked]
    options = [
        (found[0], direction, words)
        for direction, holds in DIRECTIONS.items()
        for thing in scene.things
        if (words := scene.name(thing, other, f"size {other}"))
        and len(found := [one for one in scene.things if holds(one, thing)]) == 1
    ]
    if not options:
        return None
    answer, direction, words = pick(rng, options)
    place = f"the thing {direction}" if asked == "colour" else direction
    return Question(f"what {asked} is {place} the {words.noun(anything='thing')}?", getattr(answer, asked), "relation")


def extreme(asked: str, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "what colour is the leftmost square?" where one of several squares lies further left than the others."""
    other = _OTHER[asked]
    options = []
    for words in {describe(thing, other): None for thing in scene.things}:
        alike = scene.all(words)
        for direction, holds in DIRECTIONS.items():
            first = [one for one in alike if all(holds(one, two) for two in alike if two is not one)]
            if first and len(alike) > 1:
                options.append((first[0], direction, words))
    if not options:
        return None
    thing, direction, words = pick(rng, options)
    noun = f"{EXTREMES[direction]} {words.noun(anything='thing')}"
    return Question(f"what {asked} is the {noun}?", getattr(thing, asked), "relation")


def comparison(kind: str, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "are there more red shapes than blue shapes?", about things that are there if the answer can be yes."""
    counts = {words: scene.count(words) for words in vocabulary(kind)}
    there = [words for words in counts if counts[words]]
    more = [(a, b) for a in there for b in there if counts[a] > counts[b]]
    more = more or [(a, b) for a in there for b in counts if counts[a] > counts[b]]
    if not more:
        return None
    a, b = pick(rng, more)
    answer = pick(rng, ("yes", "no"))
    if answer == "no":
        same = [(one, two) for one in there for two in there if one != two and counts[one] == counts[two]]
        a, b = pick(rng, same) if same and rng.random() < 0.5 else (b, a)
    return Question(f"are there more {a.noun(plural=True)} than {b.noun(plural=True)}?", answer, "comparison")


ASKERS: tuple[Callable[[Scene, np.random.Generator], Question | None], ...] = (
    exist,
    partial(count, 0),
    partial(count, 1),
    partial(attribute, "colour"),
    partial(attribute, "shape"),
    whether,
    partial(beside, "colour"),
    partial(beside, "shape"),
    partial(extreme, "colour"),
    partial(extreme, "shape"),
    partial(comparison, "colour"),
    partial(comparison, "shape"),
)


def ask(scene: Scene, rng: np.random.Generator, number: int) -> list[Question]:
    """Ask up to ``number`` questions of different kinds: fewer where the scene does not allow as many."""
    questions: list[Question] = []
    for place in rng.permutation(len(ASKERS)).tolist():
        if len(questions) < number and (question := ASKERS[place](scene, rng)):
            questions.append(question)
    return questions

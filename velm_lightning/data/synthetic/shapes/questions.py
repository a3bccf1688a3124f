"""Questions about a scene whose words do not reveal the answer.

Each function returns one kind of question, or None if the scene allows none. The words are chosen without the answer;
only yes and no are drawn before the words. With the symmetry of the scenes (see `scene`), all answers are
then equally likely given the words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from velm_lightning.data.synthetic.shapes.scene import (
    COLOURS,
    DIRECTIONS,
    HIGHEST_COUNT,
    OPPOSITE,
    SHAPES,
    Scene,
    Thing,
    Wording,
    describe,
    pick,
    vocabulary,
)


class Question(NamedTuple):
    """A question, its answer, its group, and a function from an answer to a statement."""

    text: str
    answer: str
    group: str
    claim: Callable[[str], str]


NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
EXTREMES = {"left of": "leftmost", "right of": "rightmost", "above": "highest", "below": "lowest"}
_OTHER = {"colour": "shape", "shape": "colour"}


def exist(kinds: tuple[str, ...], scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "is there a red circle?"; if not, the scene still has something red and some circle."""
    options = [([w for w in vocabulary(kind) if scene.count(w)], _missing(scene, kind)) for kind in kinds]
    options = [(there, missing) for there, missing in options if missing]
    if not options:
        return None
    there, missing = pick(rng, options)
    answer = pick(rng, ("yes", "no"))
    noun = pick(rng, there if answer == "yes" else missing).noun()
    return Question(f"is there a {noun}?", answer, "exist", lambda _: f"there is a {noun}.")


def _missing(scene: Scene, kind: str) -> list[Wording]:
    """Return the descriptions that fit nothing, although each of their words fits something."""
    words_in_scene = {word for thing in scene.things for word in thing[:3]}
    return [
        words
        for words in vocabulary(kind)
        if not scene.count(words) and (" " not in kind or words_in_scene.issuperset(filter(None, words)))
    ]


def count(which: int, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "how many red shapes are there?" about a description whose count was drawn before the scene."""
    if which >= len(scene.counted):
        return None
    words = scene.counted[which]

    def claim(number: str) -> str:
        verb, noun = ("is", words.noun()) if number == "1" else ("are", words.noun(plural=True))
        return f"there {verb} {NUMBERS[int(number)]} {noun}."

    return Question(f"how many {words.noun(plural=True)} are there?", str(scene.count(words)), "count", claim)


def attribute(asked: str, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "what colour is the large circle?" or "what shape is the red thing?" about a thing that this identifies."""
    other = _OTHER[asked]
    named = scene.named(other, f"size {other}")
    if not named:
        return None
    chosen, words = pick(rng, named)
    return _open(asked, f"the {words.noun(anything='thing')}", chosen, "attribute")


def place(asked: str, scene: Scene, rng: np.random.Generator) -> Question:
    """Ask "what colour is the thing in the top left?"."""
    thing = pick(rng, scene.things)
    return _open(asked, f"the thing {thing.place}", thing, "attribute")


def whether(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "is the red circle left of the star?" about two things in that or the opposite relation."""
    named = scene.named(pick(rng, ("colour", "shape")), "colour shape", "size colour shape")
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
    subject, place = (f"the {words.noun(anything='thing')}" for words in (a, b))
    place = f"{direction if answer == 'yes' else OPPOSITE[direction]} {place}"
    return Question(f"is {subject} {place}?", answer, "relation", lambda _: f"{subject} is {place}.")


def neighbour(asked: str, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "what colour is the shape left of the star?" if only one thing is there."""
    other = _OTHER[asked]
    options = [
        (things[0], direction, words)
        for thing, words in scene.named(other, f"size {other}")
        for direction, holds in DIRECTIONS.items()
        if len(things := [other_thing for other_thing in scene.things if holds(other_thing, thing)]) == 1
    ]
    if not options:
        return None
    answer, direction, words = pick(rng, options)
    return _open(asked, f"the thing {direction} the {words.noun(anything='thing')}", answer, "relation")


def extreme(asked: str, scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "what colour is the leftmost square?" if one of several squares is further left than the others."""
    other = _OTHER[asked]
    options = []
    for words in {describe(thing, other): None for thing in scene.things}:
        alike = scene.all(words)
        for direction, holds in DIRECTIONS.items():
            first = [a for a in alike if all(holds(a, b) for b in alike if b is not a)]
            if first and len(alike) > 1:
                options.append((first[0], direction, words))
    if not options:
        return None
    thing, direction, words = pick(rng, options)
    return _open(asked, f"the {EXTREMES[direction]} {words.noun(anything='thing')}", thing, "relation")


def _open(asked: str, which: str, thing: Thing, group: str) -> Question:
    """Ask for the colour or the shape of ``thing``, which the words of ``which`` describe."""
    article = "a " if asked == "shape" else ""
    return Question(
        f"what {asked} is {which}?", getattr(thing, asked), group, lambda value: f"{which} is {article}{value}."
    )


def comparison(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask "are there more red shapes than blue shapes?", about things in the scene, if possible."""
    counts = {words: scene.count(words) for words in vocabulary(pick(rng, ("colour", "shape")))}
    there = [words for words in counts if counts[words]]
    more = [(a, b) for a in there for b in there if counts[a] > counts[b]]
    more = more or [(a, b) for a in there for b in counts if counts[a] > counts[b]]
    if not more:
        return None
    a, b = pick(rng, more)
    answer = pick(rng, ("yes", "no"))
    if answer == "no":
        same = [(x, y) for x in there for y in there if x != y and counts[x] == counts[y]]
        a, b = pick(rng, same) if same and rng.random() < 0.5 else (b, a)
    words = f"there more {a.noun(plural=True)} than {b.noun(plural=True)}"
    return Question(f"are {words}?", answer, "comparison", lambda _: f"{words.replace('there', 'there are', 1)}.")


ASKERS: tuple[Callable[[Scene, np.random.Generator], Question | None], ...] = (
    partial(exist, ("colour", "shape")),
    partial(exist, ("colour shape", "size shape", "size colour")),
    partial(count, 0),
    partial(count, 1),
    partial(attribute, "colour"),
    partial(attribute, "shape"),
    partial(place, "colour"),
    partial(place, "shape"),
    whether,
    partial(neighbour, "colour"),
    partial(neighbour, "shape"),
    partial(extreme, "colour"),
    partial(extreme, "shape"),
    comparison,
)


def ask(scene: Scene, rng: np.random.Generator, number: int) -> list[Question]:
    """Ask up to ``number`` questions of different kinds: fewer if the scene does not allow that many."""
    questions: list[Question] = []
    for place in rng.permutation(len(ASKERS)).tolist():
        if len(questions) < number and (question := ASKERS[place](scene, rng)):
            questions.append(question)
    return questions


def state(question: Question, rng: np.random.Generator) -> tuple[str, bool]:
    """Return a statement from a question and whether it is true, both equally likely given the words."""
    if question.answer in ("yes", "no"):
        return question.claim("yes"), question.answer == "yes"
    counts = tuple(str(number) for number in range(HIGHEST_COUNT + 1))
    values = next(values for values in (COLOURS, SHAPES, counts) if question.answer in values)
    if rng.random() < 0.5:
        return question.claim(question.answer), True
    return question.claim(pick(rng, [value for value in values if value != question.answer])), False

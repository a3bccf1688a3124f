"""Talk of two turns about a scene, whose second turn means nothing without the first: "what colour is it?"."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from velm_lightning.data.shapes.questions import NUMBERS
from velm_lightning.data.shapes.scene import Scene, Thing, Words, describe, vocabulary

_ASKED = {"colour": "what colour is it?", "shape": "what shape is it?", "place": "where is it?"}


class Exchange(NamedTuple):
    """Two turns: what was asked and replied, what is asked now, the right reply, and the word that refers back."""

    history: str
    question: str
    reply: str
    group: str


def talk(scene: Scene, rng: np.random.Generator, number: int) -> list[Exchange]:
    """Return up to ``number`` exchanges: fewer where the scene does not allow as many.

    A question is asked only where, after another first turn about the same scene, it has another reply.
    """
    options = [*_about_it(scene), *_about_them(scene)]
    replies: dict[str, set[str]] = {}
    for one in options:
        replies.setdefault(one.question, set()).add(one.reply)
    options = [one for one in options if len(replies[one.question]) > 1]
    shuffled = [options[place] for place in rng.permutation(len(options)).tolist()]
    groups = ([one for one in shuffled if one.group == group] for group in ("them", "it"))
    return [one for pair in zip_longest(*groups) for one in pair if one][:number]


def _about_it(scene: Scene) -> list[Exchange]:
    """Name a thing in the first turn, then ask about "it"."""
    found = []
    for thing in scene.things:
        for mentioned in ("colour", "shape", "size shape", "size colour"):
            words = describe(thing, mentioned)
            if scene.count(words) != 1:
                continue
            for asked, question in _ASKED.items():
                if asked not in mentioned:
                    history = f"is there a {words.noun(anything='thing')}? yes."
                    found.append(Exchange(history, question, _reply(thing, asked), "it"))
    return found


def _reply(thing: Thing, asked: str) -> str:
    value = str(getattr(thing, asked))
    return f"it is a {value}." if asked == "shape" else f"it is {value}."


def _about_them(scene: Scene) -> list[Exchange]:
    """Count some things in the first turn, then ask how many of "them" are of a kind that is there."""
    found = []
    for words in (Words(), *vocabulary("colour"), *vocabulary("shape")):
        many = scene.count(words)
        if many < 2:
            continue
        history = f"how many {words.noun(plural=True, anything='thing')} are there? {NUMBERS[many]}."
        for asked in ("colour", "shape"):
            for kind in dict.fromkeys(getattr(thing, asked) for thing in scene.things if not getattr(words, asked)):
                both = scene.count(words._replace(**{asked: kind}))
                noun = kind if asked == "colour" else f"{kind}s"
                reply = f"{NUMBERS[both] if both else 'none'} of them."
                found.append(Exchange(history, f"how many of them are {noun}?", reply, "them"))
    return found

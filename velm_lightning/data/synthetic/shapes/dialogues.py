"""Dialogues of two turns about a scene, whose second turn depends on the first: "what colour is it?"."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from velm_lightning.data.synthetic.shapes.questions import NUMBERS
from velm_lightning.data.synthetic.shapes.scene import Scene, Thing, Wording, describe, vocabulary

_ASKED = {"colour": "what colour is {}?", "shape": "what shape is {}?", "place": "where is {}?"}


class Turn(NamedTuple):
    """A question and its correct reply."""

    question: str
    reply: str


class Exchange(NamedTuple):
    """Two turns, and the word by which the second refers to the first."""

    first: Turn
    second: Turn
    group: str


def exchanges_about(scene: Scene, rng: np.random.Generator, number: int) -> list[Exchange]:
    """Return up to ``number`` exchanges: fewer if the scene does not allow that many.

    A second question is used only if it has another reply after another first turn about the same scene.
    """
    options = [*_about_it(scene), *_about_them(scene)]
    replies: dict[str, set[str]] = {}
    for option in options:
        replies.setdefault(option.second.question, set()).add(option.second.reply)
    options = [option for option in options if len(replies[option.second.question]) > 1]
    shuffled = [options[place] for place in rng.permutation(len(options)).tolist()]
    groups = ([exchange for exchange in shuffled if exchange.group == group] for group in ("them", "it"))
    return [exchange for pair in zip_longest(*groups) for exchange in pair if exchange][:number]


def _about_it(scene: Scene) -> list[Exchange]:
    """Return exchanges with one question about a thing in the first turn, and another about "it" in the second."""
    exchanges = []
    for thing in scene.things:
        for mentioned in ("colour", "shape", "size shape", "size colour"):
            words = describe(thing, mentioned)
            if scene.count(words) != 1:
                continue
            open_ = [asked for asked in _ASKED if asked not in mentioned]
            first = {asked: _ask(asked, thing, f"the {words.noun(anything='thing')}") for asked in open_}
            exchanges += [Exchange(first[a], _ask(b, thing, "it"), "it") for a in open_ for b in open_ if a != b]
    return exchanges


def _ask(asked: str, thing: Thing, called: str) -> Turn:
    value = str(getattr(thing, asked))
    return Turn(_ASKED[asked].format(called), f"a {value}" if asked == "shape" else value)


def _about_them(scene: Scene) -> list[Exchange]:
    """Return exchanges that count things, then ask how many of "them" are of a kind in the scene."""
    exchanges = []
    for words in (Wording(), *vocabulary("colour"), *vocabulary("shape")):
        many = scene.count(words)
        if many < 2:
            continue
        first = Turn(f"how many {words.noun(plural=True, anything='thing')} are there?", NUMBERS[many])
        for asked in ("colour", "shape"):
            for kind in dict.fromkeys(getattr(thing, asked) for thing in scene.things if not getattr(words, asked)):
                both = scene.count(words._replace(**{asked: kind}))
                noun = kind if asked == "colour" else f"{kind}s"
                second = Turn(f"how many of them are {noun}?", NUMBERS[both] if both else "none")
                exchanges.append(Exchange(first, second, "them"))
    return exchanges

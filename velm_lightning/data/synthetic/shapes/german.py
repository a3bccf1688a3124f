"""Sentences about a scene in English and in German, some of which only the image translates.

English uses "the red one" for anything; German depends on the shape: *der rote* of a circle or a star (*der Kreis*,
*der Stern*), *das rote* of a square or a triangle (*das Quadrat*, *das Dreieck*).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from velm_lightning.data.synthetic.shapes.captions import number
from velm_lightning.data.synthetic.shapes.scene import DIRECTIONS, Scene, Thing, Wording, describe, pick


class Pair(NamedTuple):
    """An English sentence, its German translation, and whether the words determine that ("named") or not ("one")."""

    english: str
    german: str
    group: str


_NOUNS = {
    "circle": ("Kreis", "Kreise", "m"),
    "square": ("Quadrat", "Quadrate", "n"),
    "triangle": ("Dreieck", "Dreiecke", "n"),
    "star": ("Stern", "Sterne", "m"),
}
_ADJECTIVES = {
    "red": "rot",
    "green": "grün",
    "blue": "blau",
    "yellow": "gelb",
    "purple": "violett",
    "black": "schwarz",
    "small": "klein",
    "large": "groß",
}
_ARTICLES = {  # (article, case, gender): the German article and the ending of the adjectives after it
    ("a", "nominative", "m"): ("ein", "er"),
    ("a", "nominative", "n"): ("ein", "es"),
    ("a", "accusative", "m"): ("einen", "en"),
    ("a", "accusative", "n"): ("ein", "es"),
    ("a", "dative", "m"): ("einem", "en"),
    ("a", "dative", "n"): ("einem", "en"),
    ("the", "nominative", "m"): ("der", "e"),
    ("the", "nominative", "n"): ("das", "e"),
    ("the", "dative", "m"): ("dem", "en"),
    ("the", "dative", "n"): ("dem", "en"),
}
_DIRECTIONS = {"left of": "links von", "right of": "rechts von", "above": "über", "below": "unter"}
_NUMBERS = ("kein", "ein", "zwei", "drei", "vier", "fünf", "sechs")


def german(words: Wording, article: str, case: str, shape: str) -> str:
    """Return "ein kleiner roter Kreis": article, case and the gender of ``shape`` determine the endings."""
    noun, _, gender = _NOUNS[shape]
    word, ending = _ARTICLES[article, case, gender]
    adjectives = [_ADJECTIVES[adjective] + ending for adjective in (words.size, words.colour) if adjective]
    return " ".join([word, *adjectives, *([noun] if words.shape else [])])


def sentences(scene: Scene, rng: np.random.Generator) -> list[Pair]:
    """Return up to four sentences: two name shapes, two use "the red one", if the scene allows it."""
    pairs = [_count(scene, rng)]
    for group, mentioned in (
        ("named", ("shape", "colour shape", "size colour shape")),
        ("one", ("colour", "size colour")),
    ):
        named = scene.named(*mentioned)
        options = [
            (*a, way, *b) for way, holds in DIRECTIONS.items() for a in named for b in named if holds(a[0], b[0])
        ]
        if options:
            pairs.append(_relate(*pick(rng, options), group))
    if named := scene.named("colour", "size colour"):
        pairs.append(_see([named[place] for place in rng.permutation(len(named))[:3].tolist()]))
    return pairs


def _relate(a: Thing, first: Wording, direction: str, b: Thing, second: Wording, group: str) -> Pair:
    subject, place = german(first, "the", "nominative", a.shape), german(second, "the", "dative", b.shape)
    return Pair(
        f"the {first.noun(anything='one')} is {direction} the {second.noun(anything='one')}.",
        f"{subject} ist {_DIRECTIONS[direction]} {place}.",
        group,
    )


def _see(named: list[tuple[Thing, Wording]]) -> Pair:
    """List things without their nouns: "we see a red one and a blue one", *einen roten und ein blaues*."""
    english = [f"a {words.noun(anything='one')}" for _, words in named]
    german_parts = [german(words, "a", "accusative", thing.shape) for thing, words in named]
    return Pair(f"we see {_listed(english, 'and')}.", f"wir sehen {_listed(german_parts, 'und')}.", "one")


def _listed(parts: list[str], last: str) -> str:
    """Return "a, b and c", where ``last`` is "and"."""
    return f" {last} ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _count(scene: Scene, rng: np.random.Generator) -> Pair:
    """Return the counts of two kinds of things, or of the only kind."""
    kinds = list({describe(thing, "colour shape"): None for thing in scene.things})
    chosen = [kinds[place] for place in rng.permutation(len(kinds))[:2].tolist()]
    english = " and ".join(number(words, scene.count(words)) for words in chosen)
    verb = "is" if english.startswith("a ") else "are"
    counted = " und ".join(_counted(words, scene.count(words)) for words in chosen)
    return Pair(f"there {verb} {english}.", f"es gibt {counted}.", "named")


def _counted(words: Wording, many: int) -> str:
    """Return "einen roten Kreis" or "drei rote Kreise"."""
    assert words.colour is not None
    assert words.shape is not None
    if many == 1:
        return german(words, "a", "accusative", words.shape)
    return f"{_NUMBERS[many]} {_ADJECTIVES[words.colour]}e {_NOUNS[words.shape][1]}"

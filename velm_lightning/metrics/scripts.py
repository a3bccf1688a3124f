"""Scripts that put no spaces between words, whose letters are the tokens of the caption figures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import category

from velm_lightning.metrics.ptb import ptb_tokenise_all

_LETTER = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)  # Thai and Lao, Myanmar, Khmer, Hiragana and Katakana, Han
_SHARE = 0.5


def char_tokenise_all(captions: Iterable[str]) -> list[str]:
    """Return the tokens of captions, joined by blanks: letters of scripts without spaces, and words of other scripts.

    Marks belong to their letter, punctuation of those scripts is dropped, and the words of other scripts are those of
    `ptb_tokenise`.

    >>> char_tokenise_all(["一只猫，IKEA 沙发。"])
    ['一 只 猫 ikea 沙 发']
    """
    return ptb_tokenise_all(_spaced(caption) for caption in captions)


def lacks_spaces(captions: Iterable[str]) -> bool:
    """Return whether most of the letters of captions belong to scripts without spaces between words."""
    letters = [letter for caption in captions for letter in caption if letter.isalpha()]
    return bool(letters) and sum(map(bool, map(_LETTER.match, letters))) > _SHARE * len(letters)


def _spaced(caption: str) -> str:
    parts = []
    for letter in caption:
        kind = category(letter)
        if kind[0] == "M":
            parts.append(letter)
        elif _LETTER.match(letter):
            parts.append(f" {letter}")
        elif ord(letter) > 0x2E7F and kind[0] in "PS":
            parts.append(" ")
        else:
            parts.append(f" {letter}" if parts and _LETTER.search(parts[-1]) else letter)
    return "".join(parts)

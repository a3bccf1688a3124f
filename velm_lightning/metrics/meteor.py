"""METEOR without paraphrases: exact and stem matches, and synonyms if WordNet is installed. Not the jar's figure.

The parameters, the alignment, the treatment of function words and the choice of the best reference are those of METEOR
1.5 for English (Denkowski and Lavie 2014); if the jar is also limited to exact and stem matches, the score of every
caption is equal. The jar's table of paraphrases (61 MB) is missing and, without WordNet, so are synonyms. The figure is
therefore lower than the jar's and must not be compared with published METEOR: it is named METEOR-approx, with modules.
Compared with the jar as coco-caption calls it, corpus figure and correlation over captions:

===============================  ======  ===============  ====================
data                             jar     exact + stem     exact + stem + synonym
===============================  ======  ===============  ====================
COCO's fakecap                   0.1953  0.1847, r 0.968  0.1890, r 0.983
Flickr8k test, one against four  0.2500  0.2346, r 0.920  0.2404, r 0.944
Flickr8k val, one against four   0.2550  0.2376, r 0.928  0.2442, r 0.947
nlg-eval's example               0.2958  0.2673           0.2825
COCO val, one against the rest   0.2403  0.2271
===============================  ======  ===============  ====================

Needs ``snowballstemmer`` (``pip install velm-lightning[meteor]``). Synonyms are used if ``nltk`` can be imported and
finds its ``wordnet`` data, as after ``nltk.download("wordnet")``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from velm_lightning.metrics._align import Match, align
from velm_lightning.metrics._ngrams import Floats
from velm_lightning.metrics.captions import Hypotheses, Score, hypothesis_lines
from velm_lightning.metrics.references import CaptionsOf, References
from velm_lightning.types import InputError

MODULES = ("exact", "stem", "synonym")
_WEIGHTS = (1.0, 0.6, 0.8)
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75  # of recall, chunk exponent, largest penalty, of content words
_FREQUENT = """
    the , . to of and a in that for " is on 's it with was as said at he by be from have has are his but an this not i
    will ’ they ) -rrb- ( -lrb- who their had we which were been more or s its would about new one after you : also up
    when there than $ all out her people she year two - can if last first “ over other ” into some what so -- no time
    years could ? 't — '
"""
_FUNCTION_WORDS = frozenset(_FREQUENT.split())
"""Function words, the most frequent words of a large corpus; they have a third of the weight of other words."""


def meteor_modules() -> tuple[str, ...]:
    """Return the `MODULES` that this installation can match with.

    Raises:
        InputError: If ``snowballstemmer`` is not installed.
    """
    _stem("word")
    return MODULES if _wordnet() is not None else MODULES[:2]


def meteor_name(modules: Sequence[str]) -> str:
    """Return the name of the figure that these modules give: never "METEOR", which is the jar's."""
    return f"METEOR-approx({'+'.join(modules)})"


def meteor_score(
    hypotheses: Hypotheses,
    references: References | CaptionsOf,
    modules: Sequence[str] | None = None,
    *,
    tokenise: bool = True,
) -> Score:
    """Score one caption per image against the image's references; report it as `meteor_name`.

    Args:
        hypotheses: one caption per image; a list is of images 0…N - 1.
        references: captions of the same images, or their index.
        modules: which of `MODULES`; None means those of `meteor_modules`.
        tokenise: pass both sides through the PTB tokeniser; False if they are tokens joined by blanks.

    Returns:
        From 0 to 1. The corpus figure is computed from summed counts; it is not the mean of the samples.

    Raises:
        InputError: If a module is unknown or not installed, or captions do not match as in `captions.score_captions`.
    """
    chosen = _check(meteor_modules() if modules is None else modules)
    index = references if isinstance(references, References) else References(references, tokenise=tokenise)
    lines = hypothesis_lines(hypotheses, index, tokenise=tokenise)
    reference_words = [_words(line) for line in index.lines]
    counts = np.stack(
        [
            _best(_words(line), reference_words[index.start[place] : index.start[place + 1]], chosen)
            for place, line in enumerate(lines)
        ]
    )
    return Score(_score(counts.sum(0)), np.array([_score(row) for row in counts]))


def _best(hypothesis: list[str], references: Sequence[list[str]], modules: tuple[str, ...]) -> Floats:
    """Return the counts against the reference with the best score, the first one on a tie."""
    return max((_counts(hypothesis, reference, modules) for reference in references), key=_score)


def _counts(hypothesis: list[str], reference: list[str], modules: tuple[str, ...]) -> Floats:
    """Return (6,) the counts that determine the score; those of a corpus are the sums over its captions.

    In order: weighted matches of the caption and of the reference, their weighted lengths, chunks, matches.
    """
    matches, chunks = align(_candidates(hypothesis, reference, modules if hypothesis != reference else modules[:1]))
    of_word = [_weight(word) for word in hypothesis], [_weight(word) for word in reference]
    weights = [_WEIGHTS[MODULES.index(modules[match.module])] for match in matches]
    matched = sum(w * of_word[0][match.place] for w, match in zip(weights, matches, strict=True))
    answered = sum(w * of_word[1][match.reference_place] for w, match in zip(weights, matches, strict=True))
    if len(hypothesis) == len(reference) == len(matches) and chunks == 1:
        chunks = 0  # a match of the whole caption has no penalty, in the sum of the corpus either
    return np.array([matched, answered, sum(of_word[0]), sum(of_word[1]), chunks, len(matches)], dtype=float)


def _score(counts: Floats) -> float:
    """Return the weighted harmonic mean of precision and recall, reduced by up to 60 % for scattered matches."""
    matched, answered, length, reference_length, chunks, matches = counts.tolist()
    if matched == 0 or answered == 0:
        return 0.0
    mean = 1 / ((1 - _ALPHA) / (matched / length) + _ALPHA / (answered / reference_length))
    return float(mean * (1 - _GAMMA * (chunks / matches) ** _BETA))


def _candidates(hypothesis: list[str], reference: list[str], modules: tuple[str, ...]) -> list[list[Match]]:
    """Return the possible matches of each word of the reference with words of the caption."""
    tests = [_TESTS[module] for module in modules]
    return [
        [
            Match(place, reference_place, number)
            for number, test in enumerate(tests)
            for place, word in enumerate(hypothesis)
            if test(word, reference_word)
        ]
        for reference_place, reference_word in enumerate(reference)
    ]


def _weight(word: str) -> float:
    return 1 - _DELTA if word in _FUNCTION_WORDS else _DELTA


@cache
def _stemmer() -> Callable[[str], str]:
    try:
        stemmer = importlib.import_module("snowballstemmer").stemmer("english")
    except ImportError:
        raise InputError(
            "METEOR needs snowballstemmer, which is not installed: pip install velm-lightning[meteor]"
        ) from None
    return stemmer.stemWord  # type: ignore[no-any-return]


@cache
def _stem(word: str) -> str:
    return _stemmer()(word)


@cache
def _wordnet() -> Callable[[str], Sequence[object]] | None:
    """Return the function that gives the synsets of a word, or None if nltk or its data is missing."""
    try:
        wordnet = importlib.import_module("nltk.corpus").wordnet
        wordnet.ensure_loaded()
    except (ImportError, LookupError, OSError):
        return None
    return wordnet.synsets  # type: ignore[no-any-return]


@cache
def _synsets(word: str) -> frozenset[object]:
    synsets = _wordnet()
    return frozenset(synsets(word) if synsets is not None and word.isascii() else ())


def _same_synset(word: str, other: str) -> bool:
    return word != other and not _synsets(word).isdisjoint(_synsets(other))


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": lambda word, other: word == other,
    "stem": lambda word, other: word != other and _stem(word) == _stem(other),
    "synonym": _same_synset,
}


def _words(line: str) -> list[str]:
    """Split the tokens of a caption once more, as METEOR's own normaliser does after the PTB tokeniser."""
    line = re.sub(r"([^\w\s.'`,‘’-])", r" \1 ", line.lower())
    line = re.sub("[`‘’]", "'", line).replace("''", ' " ')
    line = re.sub(r"(?<=[^\W_.])-(?=[^\W_])|(?<=\.)-(?=[^\W_])", " ", line)
    line = re.sub(r"(?<![^\W_])'|'(?![^\W\d_])", " ' ", line)
    line = re.sub(r"(?<=[^\W\d_])'(?=[^\W\d_])|(?<=\d)'(?=s)", " '", line)
    words = line.split()
    return [part for place, word in enumerate(words) for part in _dots(word, words[place + 1 : place + 2])]


def _dots(word: str, following: list[str]) -> list[str]:
    """Drop the dots of initials; keep one before a word in lower case; split the others off."""
    if len(word) < 2 or not word.endswith("."):
        return [word]
    if "." in word[:-1] and re.search(r"[^\W\d_]", word):
        return [word.replace(".", "")]
    return [word] if following and following[0][0].islower() else [word[:-1], "."]


def _check(modules: Sequence[str]) -> tuple[str, ...]:
    for module in modules:
        if module not in MODULES:
            raise InputError(f"modules: {module!r} is not one of {', '.join(MODULES)}")
    if "synonym" in modules and _wordnet() is None:
        raise InputError('modules: "synonym" needs nltk and its data: pip install nltk, nltk.download("wordnet")')
    return tuple(modules)

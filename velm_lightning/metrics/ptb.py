"""The Penn Treebank tokeniser of the COCO caption evaluation, without Java.

Reproduces ``edu.stanford.nlp.process.PTBTokenizer -preserveLines -lowerCase`` of Stanford CoreNLP 3.4.1, one
caption per line, then the removal of the 17 punctuation tokens that ``pycocoevalcap`` lists. On all 40,000 captions of
Flickr8k every line is identical to the jar's; so were 140,000 other lines, of random words and marks and of English,
German, French and Czech prose, and 40,000 of HTML entities in any case, abbreviations, numbers and quotes.

A line can differ from the jar's in these cases:

- letters and marks that Unicode gained or renamed after 2010 (the jar drops them), and some combining marks of Indic
  scripts;
- a caption that ends in an initial, "vitamin A.", when the *next* caption of the file starts with one of 46 words
  ("The", "A", "He", …): the jar reads over the line end and gives "a ." there and "a." elsewhere. Here captions are
  independent of each other and it is "a.";
- three captions of COCO val, counted by an independent comparison; the reason is one of the above or is not known;
- a tag whose quoted attribute runs over a line end, and the last characters of a file without a final line end;
- tokens of more than 1,000 characters, which are divided here;
- a carriage return, vertical tab, form feed or U+2028/2029 inside a caption: the official code shifts every later
  caption of the file by a line. Here they count as a blank.

Some results are unexpected but equal those of the jar: "&QUOT;" and "&APOS;" in capitals stay; "?!" is a token and
stays; "cannot" gives "can not"; "(" gives "-lrb-", which stays, because only the capital "-LRB-" is listed; "22 3/4" is
one token with a no-break space, at which BLEU and CIDEr split and ROUGE-L does not.

Definition: Marcus et al. 1993 for the treebank; Chen et al. 2015, arXiv:1504.00325, for its use on captions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from velm_lightning.metrics._ptb_rules import BEFORE_NUMBER, RULES, shadow_of

PUNCTUATION = frozenset(
    ("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";")
)
"""The tokens that pycocoevalcap removes after the jar, verbatim; the jar's brackets are in lower case and stay."""

_LINE_ENDS = re.compile("[\n\r\v\f\u2028\u2029]")
_PLAIN = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*")
_SPLIT_WORDS = frozenset(("cannot", "gonna", "wanna", "gotta", "lemme", "gimme"))
_ACROSS_BLANKS = re.compile(rf"<|\d\)?\s\d|\.\s\.+[^\s.]|(?<![A-Za-z])[A-Za-z]\.\s+[A-Z]|{BEFORE_NUMBER}\s\d")
"""Matches tokens that may span a blank: tags, fractions, telephone numbers, dots, initials, abbreviations."""

_BESIDE_BLANK = re.compile(rf"<|\d\)?$|^\.+[^.]|(?<![A-Za-z])[A-Za-z]\.$|{BEFORE_NUMBER}$")
"""Matches chunks that can be part of such a token."""

_MOST_CHUNKS = 1 << 20
_LONGEST = 1000  # characters of a token: each rule would otherwise read a long chunk from every place to its end


def ptb_tokenise(caption: str) -> str:
    """Return the tokens of a caption, lower-cased, without punctuation, joined by blanks.

    >>> ptb_tokenise("Two dogs can't reach the man's T-shirt!")
    "two dogs ca n't reach the man 's t-shirt"
    """
    return ptb_tokenise_all((caption,))[0]


def ptb_tokenise_all(captions: Iterable[str]) -> list[str]:
    """Tokenise captions; each distinct chunk between blanks is tokenised once and cached."""
    if len(_closed) + len(_open) > _MOST_CHUNKS:
        _closed.clear()
        _open.clear()
    lines = []
    for caption in captions:
        try:
            lines.append(" ".join(filter(None, map(_closed.__getitem__, caption.split()))))
        except _OpenChunkError:
            lines.append(_by_context(caption))
    return lines


def _by_context(caption: str) -> str:
    """Tokenise a caption with a chunk whose tokens may depend on the next one."""
    if _ACROSS_BLANKS.search(caption):
        return " ".join(_lex(_LINE_ENDS.sub(" ", caption)))
    return " ".join(filter(None, map(_cached, caption.split())))


def _cached(chunk: str) -> str:
    """Return the tokens of a chunk between blanks that does not depend on its neighbours here."""
    try:
        return _closed[chunk]
    except _OpenChunkError:
        return _open[chunk]


class _OpenChunkError(Exception):
    """The tokens of a chunk may depend on its neighbours."""


class _Closed(dict[str, str]):
    """Maps chunks between blanks to their tokens, for chunks that do not depend on their neighbours."""

    def __missing__(self, chunk: str) -> str:
        if chunk in _open:
            raise _OpenChunkError
        plain = _PLAIN.fullmatch(chunk) is not None and chunk.lower() not in _SPLIT_WORDS
        tokens = chunk.lower() if plain else " ".join(_lex(chunk))
        if not plain and _BESIDE_BLANK.search(chunk):
            _open[chunk] = tokens
            raise _OpenChunkError
        self[chunk] = tokens
        return tokens


_closed = _Closed()
_open: dict[str, str] = {}
"""Maps chunks that can depend on a neighbour to their tokens in captions where they do not."""


def _lex(text: str) -> list[str]:
    """Tokenise by longest match, place by place, and drop the punctuation tokens."""
    shadow = shadow_of(text) + "\n\n"  # in a file a caption is followed by a line end and more text
    place, tokens = 0, []
    while place < len(text):
        kind, end = _longest(shadow, place)
        token = _spell(kind, text[place:end])
        if token and token not in PUNCTUATION:
            tokens.append(token)
        place = end
    return tokens


def _longest(shadow: str, place: int) -> tuple[str, int]:
    """Return the kind and the end of the token at ``place``; right context counts for the length only."""
    kind, end, reach = "nothing", place + 1, place
    for name, rule in RULES:
        match = rule.match(shadow, place, place + _LONGEST)
        if match is not None and match.end() > reach:
            kind, reach, end = name, match.end(), match.end(match.lastindex or 0)
    return kind, end


_ROUND = {"(": "-lrb-", ")": "-rrb-"}
_TRANSLATIONS: dict[str, dict[int, str]] = {
    "word": str.maketrans({"\xad": "", "\u066c": ""}),
    "spaced": str.maketrans({" ": "\xa0"}),
    "phone": str.maketrans({" ": "\xa0", **_ROUND}),
    "smiley": str.maketrans(_ROUND),
    "bracket": str.maketrans({"{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-", **_ROUND}),
    "quote": str.maketrans(dict.fromkeys("‘‛‹\x91", "`") | dict.fromkeys("’›\x92", "'"))
    | str.maketrans(dict.fromkeys("“«\x93", "``") | dict.fromkeys("”»\x94", "''")),
    "money": str.maketrans({"\xa2": "cents", "\xa3": "#"} | dict.fromkeys("\xa4\x80\u20a0\u20ac", "$")),
    "fraction": str.maketrans({"\xbc": "1/4", "\xbd": "1/2", "\xbe": "3/4", "\u2153": "1/3", "\u2154": "2/3"}),
}
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}


def _spell(kind: str, written: str) -> str:
    """Return a token, lower-cased, as the jar writes it; the caller drops empty tokens."""
    if kind in ("dropped", "nothing"):
        return ""
    token = written.lower()
    if kind == "entity":
        return re.sub("&(?:amp|lt|gt);", lambda match: _ENTITIES[match[0]], token)
    if kind == "quote":  # the jar finds entities in any case, but replaces only those in lower case
        token = written.replace("&apos;", "'").lower()
    if kind == "hyphens":
        return token if len(token) > 4 else ""
    token = token.translate(_TRANSLATIONS.get(kind, {}))
    return token or "-"

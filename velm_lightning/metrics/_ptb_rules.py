"""The lexical rules of the Penn Treebank tokeniser (Stanford 3.4.1) as regular expressions: data for `ptb`.

At each position the longest match wins and, among equals, the earlier rule. A group inside a rule marks the token; the
part of a match after the group is right context, which counts for the length and is matched again. Rules are matched
against a *shadow* of the text, of the same length, in which each non-ASCII character that no rule names is replaced by
the representative of its class (`shadow_of`).
"""

from __future__ import annotations

import re
import unicodedata

LETTER, DIGIT, MARK, SYMBOL, NOTHING = "é٠\u0301†\0"
"""Representatives of a non-ASCII letter, a non-ASCII digit, a combining mark, a symbol, and a dropped character."""

_OWN_RULE = set("\x80\x91\x92\x93\x94\x96\x97\xa0\xa2\xa3\xa4\xab\xad\xbb\xbc\xbd\xbe´") | set(
    "\u058a\u066b\u066c\u2010\u2011\u2013\u2014\u2015\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2026\u2039\u203a"
    "\u2044\u20a0\u20ac\u2153\u2154\u3001"
)
_SUPERSCRIPTS, _SUBSCRIPTS, _SIGN = "⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉", "[⁺⁻₊₋]"
_OWN_RULE |= set(_SUPERSCRIPTS + _SUBSCRIPTS + _SIGN[1:-1])
_SYMBOLS = (
    (0xA1, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7), (0x37E, 0x37E), (0x387, 0x387), (0x589, 0x589), (0x5BE, 0x5F4),
    (0x600, 0x603), (0x606, 0x61F), (0x66A, 0x66D), (0x6D4, 0x6D4), (0x700, 0x70D), (0x7F6, 0x7F8), (0x964, 0x965),
    (0xE3F, 0xE4F), (0x1FBD, 0x1FBD), (0x2016, 0x2023), (0x2030, 0x2038), (0x203B, 0x203B), (0x203E, 0x2042),
    (0x207C, 0x208E), (0x20A4, 0x20A4), (0x2100, 0x214F), (0x2155, 0x215E), (0x2190, 0x2BFF), (0x3001, 0x3002),
    (0x3012, 0x3012), (0x30FB, 0x30FB), (0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65),
    (0xFFE0, 0xFFE1), (0xFFE5, 0xFFE6),
)  # fmt: skip


def shadow_of(text: str) -> str:
    """Replace each non-ASCII character that no rule names by the representative of its class."""
    return text if text.isascii() else "".join(char if char < "\x7f" else _class_of(char) for char in text)


def _class_of(char: str) -> str:
    point, category = ord(char), unicodedata.category(char)
    if char in _OWN_RULE:
        return char
    if 0x2000 <= point <= 0x200A or point == 0x3000:
        return "\t"
    if point > 0xFFFF:
        return NOTHING
    if category[0] == "L" or category == "Nd":
        return DIGIT if category == "Nd" else LETTER
    if point < 0xED0 and (category[0] == "M" or category == "Sk" and point > 0xFF or 0x55A <= point <= 0x55F):
        return MARK
    return SYMBOL if any(low <= point <= high for low, high in _SYMBOLS) else NOTHING


_L = f"[A-Za-z{LETTER}]"
_D = f"[0-9{DIGIT}]"
_LD = f"[A-Za-z0-9{LETTER}{DIGIT}]"
_BLANK = "[ \t\xa0\n]"
_INK = "[^ \t\xa0\n]"
_QUOTE = "(?:['’\x92]|(?i:&apos;))"
_QUOTE_INSIDE = "(?:['’\x92`‘‛\x91]|(?i:&apos;))"
_WORD_LETTER = f"(?:[A-Za-z{LETTER}{MARK}\xad]|&[aeiouAEIOU](?i:acute|grave|uml);)"
_WORD_PART = f"{_WORD_LETTER}(?:{_WORD_LETTER}|{_D})*"
_WORD = f"{_WORD_PART}(?:[.!?]{_WORD_PART})*"
_NUMBER = f"(?:{_D}+(?:[.:,\xad٫٬]{_D}+)*|(?:[.:,\xad٫٬]{_D}+)+)"
_AUXILIARY = f"{_QUOTE}(?:(?i:re|ve|ll)|[msdMSD])"
_NOT = f"(?i:n{_QUOTE_INSIDE}t)"
_CAPITALS = "(?i:Canada|Sino|Korean|EU|Japan|non)-(?i:U\\.S)|(?i:U\\.S\\.-(?:U\\.S\\.S\\.R|U\\.K))"
_INITIALS = f"(?:{_CAPITALS}|[A-Za-z](?:\\.[A-Za-z])*)"
_INITIALS_2 = f"(?:{_CAPITALS}|[A-Za-z](?:\\.[A-Za-z])+)"
_HYPHENATED = f"[A-Za-z0-9][A-Za-z0-9.,\xad]*(?:-(?:{_INITIALS_2}\\.|[A-Za-z0-9\xad]+))+"
_ELIDED = f"(?:[dDoOlL]{_QUOTE_INSIDE}{_LD})?"
_THING = f"{_ELIDED}{_LD}+(?:[-_\u058a\u2010\u2011]{_ELIDED}{_LD}+)*"
_AMPERSANDED = "[A-Z]+(?:(?:(?i:&amp;)|[+&])[A-Z]+)+"
_SLASHED = "[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}"

_MONTHS_DAYS = "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thu|thurs|fri"
_STATES = (
    "ala|ariz|calif|colo|conn|ct|dak|fla|ga|ind|kans?|ky|md|mich|minn|mo|mont|neb|nev|okla|penn|tenn|va|vt|wisc?|wyo"
)
_STATES_CAPITAL = "A(?i:z)|A(?i:rk)|D(?i:el)|I(?i:ll)|L(?i:a)|M(?i:ass)|M(?i:iss)|O(?i:re)|P(?i:a)|T(?i:ex)|W(?i:ash)"
_COMPANIES = "inc|cos?|corp|pp?t[ye]|ltd|plc|rt|bancorp|bhd|assn|univ|intl|sys"
_OTHERS = "tel|est|ext|sq|jr|sr|bros|ed\\.d|ph\\.d|blvd|rd|esq|etc|al|seq|bldg"
_ABBREVIATION = f"(?:(?i:{_MONTHS_DAYS}|{_STATES}|{_COMPANIES}|{_OTHERS})|{_STATES_CAPITAL})\\."
_TITLES = (
    "mrs?|ms|drs?|profs?|sens?|reps?|attys?|lt|col|gen|messrs|govs?|adm|rev|maj|sgt|cpl|pvt|capt|ste?|ave|pres|lieut|"
    "hon|brig|co?mdr|pfc|spc|supts?|det|mt|ft|adj|adv|asst|assoc|ens|insp|mlle|mme|msgr|sfc|"
    "vs|alex|wm|jos|cie|a\\.k\\.a|cf|treas|ph|invt|elec|natl|m[ft]g|dept"
)
_TITLED = f"(?:(?i:{_TITLES})|M(?i:iss)|{_INITIALS})"
BEFORE_NUMBER = "(?i:ca|figs?|prop|nos?|art|bldg|pp|op)\\."
_SENTENCE_STARTS = (
    "About|According|Additionally|After|An|A|As|At|But|Earlier|He|Her|Here|However|If|In|It|Last|Many|More|Mr\\.|Ms\\.|"
    "Now|Once|One|Other|Our|She|Since|So|Some|Such|That|The|Their|Then|There|These|They|This|We|When|While|What|Yet|You"
)
_SENTENCE_START = (
    f"{_BLANK}+(?:{'|'.join(word[0] + f'(?i:{word[1:]})' for word in _SENTENCE_STARTS.split('|'))}){_BLANK}"
)

_NAME = "[A-Za-z][A-Za-z0-9_:.-]*"
_QUOTED = "'[^']*'|\"[^\"]*\""
_TAG = f"<(?:[!?][A-Za-z-][^>\r\n]*|{_NAME}(?: +{_NAME}(?: *= *(?:{_QUOTED}))?)* */?|/{_NAME}) *>"
_IN_URL = '[^\\s"<>|()'
_PATH = f"(?:/{_IN_URL}]{{2,}}(?<![.!?{{}},-]))?"
_URL = f"(?i:https?)://{_IN_URL}{{}}]{{2,}}(?<![.!?,-])"
_WWW = f"(?i:www)(?:\\.{_IN_URL}{{}}.!?,]+)+\\.[a-zA-Z]{{2,4}}{_PATH}"
_DOMAIN = f"(?:{_IN_URL}{{}}`'.!?,-_$]+\\.)+(?i:com|net|org|edu){_PATH}"
_IN_EMAIL = f"{_IN_URL}{{}}\xa0"
_EMAIL = f"(?:(?i:&lt;)|<)?(?i:mailto:)?[a-zA-Z0-9]{_IN_EMAIL}]*@{_IN_EMAIL}.]+(?:\\.{_IN_EMAIL}.]+)*(?:(?i:&gt;)|>)?"
_EXTENSIONS = (
    "bat|bmp|class|cgi|cpp|c|dll|docx?|exe|gif|gz|html?|h|jar|java|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|"
    "wav|xml|x|zip"
)
_GAP = "[- \xa0]"
_PREFIX = f"\\([0-9]{{2,3}}\\)[ \xa0]?|\\+{{0,2}}(?:[0-9]{{2,4}}{_GAP}){{1,2}}"
_PHONE = f"(?:{_PREFIX})[0-9]{{3,4}}{_GAP}?[0-9]{{3,5}}|\\+{{0,2}}(?:[0-9]{{2,4}}\\.){{1,2}}[0-9]{{3,4}}\\.[0-9]{{3,5}}"
_SMILEY = "[<>]?[:;=][-o*']?[]()DPdpO\\\\{@|[]"
_CHEEK = "[-^x=~<>']"
_FACE = f"{_CHEEK}_{_CHEEK}|\\({_CHEEK}[_.]?{_CHEEK}\\)|\\([\\^x=~<>']-[\\^x=~<>'`]\\)"
_APOSTROPHE_WORDS = (
    f"{_QUOTE}(?i:n){_QUOTE}?", f"[lLdDjJ]{_QUOTE}", f"(?i:dunkin|somethin|ol){_QUOTE}", f"{_QUOTE}(?i:em|till?|cause)",
    f"[A-HJ-XZn]{_QUOTE_INSIDE}{_L}{{2,}}", f"{_QUOTE}[2-9]0[sS]",
    f"{_L}+[aeiouyAEIOUY]{_QUOTE_INSIDE}[aeiouA-Z]{_L}*", "(?i:cont'd)\\.?",
    f"[oO]{_QUOTE_INSIDE}[oO]", "(?i:'twas|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l)",
)  # fmt: skip

RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("plain", "[cC]\\+\\+|[cCfF]#"),
        ("plain", "(?i:(can)not|('t)was|(gon|wan)na|(got)ta|(lem|gim)me|('t)is)"),
        ("spaced", _TAG),
        ("dropped", "&(?i:md|mdash|ndash);|[\x96\x97–—―]"),
        ("entity", "(?i:&amp;)"),
        ("plain", "&(?:(?i:ht|tl|ur|lr|qc|ql|qr|odq|cdq)|#[0-9]+);"),
        ("word", f"({_WORD}){_AUXILIARY}"),
        ("word", f"([A-Za-z\xad]*[A-MO-Za-mo-z]\xad*){_NOT}"),
        ("word", _WORD),
        *(("plain", pattern) for pattern in _APOSTROPHE_WORDS),
        ("plain", f"([yY]{_QUOTE}){_L}"),
        ("plain", _URL),
        ("plain", _WWW),
        ("plain", _DOMAIN),
        ("plain", _EMAIL),
        ("plain", "@[a-zA-Z_][a-zA-Z_0-9]*"),
        ("plain", f"#{_WORD_LETTER}+"),
        ("quote", f"({_AUXILIARY})[^A-Za-z]"),
        ("quote", f"({_NOT})[^A-Za-z]"),
        ("plain", f"{_D}{{1,2}}[-/]{_D}{{1,2}}[-/]{_D}{{2,4}}"),
        ("word", f"[-+]?{_NUMBER}"),
        ("plain", f"{_SIGN}?(?:[{_SUPERSCRIPTS}]+|[{_SUBSCRIPTS}]+)"),
        ("spaced", f"(?:{_D}{{1,4}}[- \xa0])?{_D}{{1,4}}(?:\\\\?/|\u2044){_D}{{1,4}}"),
        ("fraction", "[\xbc\xbd\xbe\u2153\u2154]"),
        ("plain", "-(?i:rrb|lrb|rcb|lcb|rsb|lsb)-|(?i:pro|anti)-|(?i:c\\.d\\.s)"),
        ("entity", f"[sS](?:&|(?i:&amp;))(?i:p-500|ls)|(?i:cap{_QUOTE}n|c{_QUOTE}est)"),
        ("plain", _SLASHED),
        ("plain", "[A-Z]*\\$|#"),
        ("money", "[\xa2\xa3\xa4\x80\u20a0\u20ac]"),
        ("plain", f"([A-Za-z])\\.{_SENTENCE_START}"),
        ("plain", f"({_INITIALS_2}\\.){_SENTENCE_START}"),
        ("plain", f"({BEFORE_NUMBER}){_BLANK}?{_D}"),
        ("plain", f"({_ABBREVIATION})[\\s\\S]{{2}}"),
        ("plain", f"{_TITLED}\\."),
        ("plain", f"({_TITLED}){_BLANK}"),
        ("plain", f"({_QUOTE}[0-9][0-9]){_BLANK}"),
        ("plain", f"({_LD}+(?:\\.{_LD}+)*\\.(?i:{_EXTENSIONS}))(?:{_BLANK}|[.?!,])"),
        ("word", f"({_WORD}\\.)[,;:\u3001]"),
        ("phone", _PHONE),
        ("dropped", "\"|&quot;|''"),
        ("plain", "(?i:&quot;)"),
        ("entity", "(?i:&[lg]t;)|[<>]"),
        ("smiley", f"({_SMILEY})[^A-Za-z0-9]"),
        ("smiley", _FACE),
        ("bracket", "[(){}\\[\\]]"),
        ("hyphens", "-+"),
        ("dropped", "\\.{3,5}|(?:\\.[ \xa0]){2,4}\\.|\u2026"),
        ("plain", "@+|#+|_+|\\*+|(?:\\\\\\*){1,3}|[,;:\u3001]|[?!]+|[.=/]"),
        ("word", f"({_HYPHENATED}\\.)[,;:\u3001]"),
        ("word", _HYPHENATED),
        ("plain", f"({_THING}\\.)[,;:\u3001]"),
        ("plain", _THING),
        ("entity", f"({_AMPERSANDED}\\.)[,;:\u3001]"),
        ("entity", _AMPERSANDED),
        ("quote", f"(')[A-Za-z]{_INK}"),
        ("quote", f"[`\u2018-\u201f\x91-\x94\u2039\u203a\xab\xbb]{{1,2}}|{_QUOTE}"),
        ("quote", _AUXILIARY),
        ("plain", "<<|>>"),
        ("plain", f"[+%&~^|\\\\´\u2044{SYMBOL}]|{_SIGN}"),
        ("dropped", "(?i:&nbsp;)"),
    )
)

"""Fonts for texts of the data, which may hold characters that the default font lacks; imports matplotlib when used."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

DEFAULT = "DejaVu Sans"
"""The font that comes with matplotlib."""
_log = logging.getLogger(__name__)


def families(text: str) -> list[str]:
    """Return the font families that draw a text: the default, and installed ones for the characters that it lacks.

    One warning per process names characters that no installed font has.

    Example:
        >>> families("a dog")
        ['DejaVu Sans']
    """
    from matplotlib.font_manager import findfont, fontManager

    missing = {char for char in text if char.isprintable()} - _characters(findfont(DEFAULT))
    chosen = [DEFAULT]
    for font in fontManager.ttflist if missing else ():
        if missing & _characters(font.fname):
            chosen.append(font.name)
            missing -= _characters(font.fname)
    if missing:
        _warn("".join(sorted(missing)[:5]))
    return list(dict.fromkeys(chosen))


@contextmanager
def drawing() -> Iterator[None]:
    """Ignore matplotlib's warnings about missing glyphs, one per glyph and drawing, in the context."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ ")
        yield


@cache
def _characters(file: str) -> frozenset[str]:
    """Return the characters that a font file has; none if it cannot be read."""
    from matplotlib.font_manager import get_font

    with suppress(OSError, RuntimeError):
        return frozenset(map(chr, get_font(file).get_charmap()))
    return frozenset()


_warned: set[str] = set()


def _warn(characters: str) -> None:
    if not _warned:
        _warned.add(characters)
        _log.warning(
            "no installed font has characters such as %s, which are drawn as boxes: install one that has them, such as "
            "Noto Sans CJK",
            characters,
        )

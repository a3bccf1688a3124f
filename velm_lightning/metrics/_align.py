"""Aligns the words of a caption with those of a reference for METEOR, in as few chunks as possible.

Method: Denkowski and Lavie 2014, "Meteor Universal": every word pair that any module matches is a candidate; a beam
search from left to right over the reference keeps the alignments with the most exact matches, then the fewest chunks,
then the shortest distance. As in release 1.5, a stem or synonym match that breaks a chunk is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_BEAM = 40


class Match(NamedTuple):
    """A word pair: its positions in the caption and in the reference, and the index of the module that matched it."""

    place: int
    reference_place: int
    module: int


class _Path(NamedTuple):
    """A partial alignment; sorts with the better first by `rank`."""

    exact: int
    chunks: int
    distance: int
    end: int  # place after the last match in the caption, -1 if the last reference word has none
    used: int  # places of the caption that are taken, as bits
    matches: tuple[Match, ...]

    def rank(self) -> tuple[int, int, int]:
        return -self.exact, self.chunks, self.distance

    def taking(self, match: Match) -> _Path:
        """Return the path with one more match."""
        breaks = self.end not in (-1, match.place)
        return _Path(
            self.exact + (match.module == 0),
            self.chunks + breaks,
            self.distance,
            match.place + 1,
            self.used | 1 << match.place,
            (*self.matches, match),
        )

    def skipping(self) -> _Path:
        """Return the path that leaves a word of the reference without a match."""
        return self._replace(chunks=self.chunks + (self.end != -1), end=-1)


def align(candidates: Sequence[Sequence[Match]]) -> tuple[tuple[Match, ...], int]:
    """Return the best alignment and its number of chunks, runs that are contiguous and in order on both sides.

    Args:
        candidates: for each word of the reference, its possible matches, exact matches (module 0) first.
    """
    certain = _certain(candidates)
    used = sum(1 << match.place for match in certain.values())
    paths = [_Path(0, 0, 0, -1, used, ())]
    for place, options in enumerate(candidates):
        paths = sorted(paths, key=_Path.rank)[:_BEAM] if len(paths) > 1 else paths
        if place in certain:
            match = certain[place]
            paths = [_moved(path.taking(match), match) for path in paths]
        else:
            paths = [further for path in paths for further in _branches(path, options)]
    ends = [path._replace(chunks=path.chunks + (path.end != -1)) for path in paths]
    best = min(ends, key=_Path.rank)
    return best.matches, best.chunks


def _certain(candidates: Sequence[Sequence[Match]]) -> dict[int, Match]:
    """Return the matches that exclude no other match, by their place in the reference."""
    claims: dict[int, int] = {}
    for options in candidates:
        for match in options:
            claims[match.place] = claims.get(match.place, 0) + 1
    single = (options[0] for options in candidates if len(options) == 1)
    return {match.reference_place: match for match in single if claims[match.place] == 1}


def _branches(path: _Path, options: Sequence[Match]) -> list[_Path]:
    """Return the path with each free option, and without any; release 1.5 adds the distance to the later branches."""
    branches = []
    for match in options:
        if not path.used >> match.place & 1:
            branches.append(path.taking(match))
            path = _moved(path, match)
    branches.append(path.skipping())
    return branches


def _moved(path: _Path, match: Match) -> _Path:
    return path._replace(distance=path.distance + abs(match.reference_place - match.place))

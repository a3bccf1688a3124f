"""Which training samples become the validation split: by the content of pictures, so that none is in both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from velm_lightning.data.images.cache import default_folder
from velm_lightning.io.digests import digests_of
from velm_lightning.types import InputError

T = TypeVar("T")


def check_holdout(share: float, train: object, val: object) -> None:
    """Refuse a share that cannot be held out.

    Raises:
        InputError: it is no share, there is nothing to take it from, or there is a validation split already.
    """
    if not 0 <= share < 1 or (share and (val or not train)):
        raise InputError(f"holdout={share} must be at least 0, below 1, and goes with `train` and without `val`")


def part_of(
    found: Sequence[T], share: float, held: bool, name: Callable[[T], str], pictures: Callable[[T], Sequence[Path]]
) -> list[T]:
    """Return the held-out part of a training split, or the rest.

    Items that show the same picture, under whatever names, stay together: whether they are held out is decided by the
    smallest of their names. So neither the order of rows nor the place of the folder matters.

    Args:
        found: items of the training split.
        share: share of the names that is held out.
        held: whether to return the held-out part.
        name: returns an item's name.
        pictures: returns the files that an item shows.
    """
    shown = [pictures(one) for one in found]
    content = _contents(list(dict.fromkeys(path for paths in shown for path in paths)))
    above: dict[Hashable, Hashable] = {}  # contents and names as a forest; what is connected shares a root

    def root(node: Hashable) -> Hashable:
        above.setdefault(node, node)
        while above[node] != node:
            above[node] = node = above[above[node]]
        return node

    names = [normalize("NFC", name(one)) for one in found]  # one name, in whatever form it is written
    for called, paths in zip(names, shown, strict=True):
        for path in paths:
            above[root(content[path])] = root(("name", called))
    smallest: dict[Hashable, str] = {}
    for called in names:
        at = root(("name", called))
        smallest[at] = min(called, smallest.get(at, called))
    chosen = {called: _is_held_out(smallest[root(("name", called))], share) for called in dict.fromkeys(names)}
    return [one for one, called in zip(found, names, strict=True) if chosen[called] == held]


def _is_held_out(name: str, share: float) -> bool:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _contents(paths: Sequence[Path]) -> dict[Path, Hashable]:
    """Return for each file a value that files share if their bytes are the same; only files of one size are read."""
    sizes: dict[int, list[Path]] = {}
    found: dict[Path, Hashable] = {path: path for path in paths}
    for path in paths:
        if path.is_file():  # what is missing is found out when it is decoded
            sizes.setdefault(path.stat().st_size, []).append(path)
    alike = [path for same in sizes.values() if len(same) > 1 for path in same]
    try:
        return found | dict(zip(alike, digests_of(alike, default_folder()), strict=True))
    except InputError:  # the same for what cannot be read
        return found

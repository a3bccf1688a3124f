"""Holding out a share of the training samples for validation, so that no image is in both splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from velm_lightning.data.images.cache import default_folder
from velm_lightning.io.digests import digests_of
from velm_lightning.types import FilePart, InputError

T = TypeVar("T")


def check_holdout(share: float, train: object, val: object) -> None:
    """Check that a share of the training split can be held out.

    Raises:
        InputError: The share is not in [0, 1), there is no training split, or there is a validation split already.
    """
    if not 0 <= share < 1 or (share and (val or not train)):
        raise InputError(f"holdout={share} must be at least 0, below 1, and goes with `train` and without `val`")


def holdout_part(
    items: Sequence[T],
    share: float,
    held: bool,
    name: Callable[[T], str],
    image_files: Callable[[T], Sequence[Path | FilePart]],
) -> list[T]:
    """Return the held-out part of a training split, or the rest.

    Items with the same image, under any name, stay together: the smallest of their names decides whether they are
    held out. At least one image is on each side if there are two. The result depends neither on the order of the rows
    nor on the location of the folder.

    Args:
        items: Items of the training split.
        share: Share of the names that is held out.
        held: Whether to return the held-out part.
        name: Returns the name of an item.
        image_files: Returns the image files of an item.
    """
    decisions = held_out(((name(item), image_files(item)) for item in items), share)
    return [item for item, decision in zip(items, decisions, strict=True) if decision == held]


def held_out(items: Iterable[tuple[str, Sequence[Hashable]]], share: float) -> list[bool]:
    """Return whether each item is held out; see ``holdout_part``.

    Args:
        items: The name of each item and its images: files, parts of files, or other contents, such as digests.
        share: Share of the names that is held out.
    """
    names, files = list[str](), list[Sequence[Hashable]]()
    for name, paths in items:
        names.append(normalize("NFC", name))  # so that both Unicode forms are the same name
        files.append(paths)
    content = contents_of_files(list(dict.fromkeys(path for paths in files for path in paths)))
    above: dict[str, str] = {}  # a forest of names; those with a common image share a root, the smallest of them

    def root(name: str) -> str:
        while (higher := above.get(name)) is not None:
            above[name] = above.get(higher, higher)  # shortens the path
            name = higher
        return name

    first: dict[Hashable, str] = {}
    for item_name, paths in zip(names, files, strict=True):
        for path in paths:
            low, high = sorted((root(item_name), root(first.setdefault(content[path], item_name))))
            if low != high:
                above[high] = low
    roots = list(map(root, names))
    chosen = _chosen(dict.fromkeys(roots), share)
    return [chosen[at] for at in roots]


def _chosen(names: Iterable[str], share: float) -> dict[str, bool]:
    """Return whether each name is held out: at least one, if there is another for training."""
    draws = {name: _draw(name) for name in names}
    chosen = {name: draw < share for name, draw in draws.items()}
    if share and len(set(chosen.values())) == 1:
        odd = max(draws, key=draws.__getitem__) if True in chosen.values() else min(draws, key=draws.__getitem__)
        chosen[odd] = not chosen[odd] and len(chosen) > 1
    return chosen


def _draw(name: str) -> float:
    """Return a number from 0 to 1 that is a function of a name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def contents_of_files(files: Sequence[Hashable]) -> dict[Hashable, Hashable]:
    """Return a value per file that is equal for files with the same bytes; only files of equal size are read."""
    sizes: dict[int, list[Path | FilePart]] = {}
    contents: dict[Hashable, Hashable] = {file: file for file in files}
    for file in files:
        if isinstance(file, FilePart):
            sizes.setdefault(file.length, []).append(file)
        elif isinstance(file, Path) and file.is_file():  # a missing file raises when it is decoded
            sizes.setdefault(file.stat().st_size, []).append(file)
    alike = [file for same in sizes.values() if len(same) > 1 for file in same]
    try:
        return contents | dict(zip(alike, digests_of(alike, default_folder()), strict=True))
    except InputError:  # an unreadable file also raises when it is decoded
        return contents

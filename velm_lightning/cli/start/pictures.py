"""The image files that a table of a user names, as far as ``velm init`` looks at them; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from velm_lightning.errors import InputError
from velm_lightning.io.files import inside, open_file

LOOKED_AT = 200
"""Largest number of rows or pictures that are looked at, spread over the file."""
Item = TypeVar("Item")


def spread(items: Sequence[Item]) -> Sequence[Item]:
    """Return at most ``LOOKED_AT`` items, spread evenly."""
    return items[:: -(-len(items) // LOOKED_AT) or 1]


def file_of(folder: Path, name: str) -> Path | None:
    """Return the file of a name in a folder or, as ``velm fit`` may be told to accept, elsewhere; None without one."""
    with suppress(OSError, ValueError):
        path = folder / name
        if path.is_file() or not name.isascii() or name != name.strip() or "\\" in name or name.startswith("~"):
            path = inside(folder, name, follow=True, absolute=True)  # slower; knows the names of other programs
            return path if path.is_file() else None
    return None


def refused(folder: Path, names: Sequence[str]) -> str:
    """Return why ``velm fit`` refuses names of images, and the fix; empty if it does not."""
    if reason := next((reason for name in names if (reason := _outside(folder, name))), ""):
        return reason
    if missing := [name for name in names if file_of(folder, name) is None]:
        share = f"{len(missing)} of {len(names)} names that were looked at"
        return f"{share}, such as {missing[0]!r}, are no files in {folder}; `velm data check --all` lists all of them"
    return ""


def _outside(folder: Path, name: str) -> str:
    """Return why a name leads out of the folder, and the option that accepts it, if any; empty if it does not."""
    try:
        inside(folder, name)
    except InputError as error:
        if _is_inside(folder, name, follow=True):
            return f"{error}, or write `links: follow` next to `images` if you trust the table"
        if _is_inside(folder, name, absolute=True):
            return f"{error}, or write `absolute_names: true` next to `images` if you trust the table"
        return str(error)
    return ""


def _is_inside(folder: Path, name: str, **options: bool) -> bool:
    with suppress(InputError):
        return bool(inside(folder, name, **options))
    return False


def shorter_side(files: Sequence[Path]) -> int:
    """Return the shorter side of the middle picture, by the headers only, so that nothing heavy is imported."""
    from PIL import Image

    from velm_lightning.io.image_files import open_image

    sides = []
    for path in files:
        unreadable = suppress(InputError, OSError, ValueError, Image.DecompressionBombError)
        with unreadable, open_file(path) as file, open_image(file, str(path)) as image:
            sides.append(min(image.size))
    return sorted(sides)[len(sides) // 2] if sides else 0

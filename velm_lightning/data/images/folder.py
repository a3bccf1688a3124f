"""The picture files in a folder, by the ids that results name them by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from velm_lightning.io.files import show
from velm_lightning.types import InputError

_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


def pictures_in(folder: Path, ids: Iterable[str]) -> dict[str, Path]:
    """Return the file of each id: of that name, with or without its ending, or, as COCO has it, ending in that number.

    Args:
        folder: is searched with its subfolders; a name may hold those.
        ids: names or numbers of pictures: ``a.jpg``, ``val/a``, ``42`` (also ``COCO_val2014_000000000042.jpg``).

    Raises:
        InputError: there is no such folder, or an id has no file there, or several.
    """
    files: dict[str, set[Path]] = {}
    for path in picture_files(folder):
        for name in _names(path.relative_to(folder)):
            files.setdefault(name, set()).add(path)
    return {key: _only(files.get(key, set()), key, folder) for key in ids}


def picture_files(folder: Path) -> list[Path]:
    """Return the picture files of a folder and its subfolders, in the order of their names.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"--images {folder}: there is no such folder")
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES and path.is_file()]


def _names(path: Path) -> Iterator[str]:
    for whole in (path, Path(path.name)):
        yield from (whole.as_posix(), whole.with_suffix("").as_posix())
    number = re.search(r"[0-9]+$", path.stem)
    if number:
        yield str(int(number[0]))


def _only(found: set[Path], key: str, folder: Path) -> Path:
    if len(found) == 1:
        return found.pop()
    told = f"has {len(found)} files, such as {sorted(found)[0]}" if found else "has no file"
    raise InputError(f"image {show(key)} {told} in {folder}: --images must hold one picture of that name or number")

"""Finding the image files in a folder by name or number."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from velm_lightning.io.files import show
from velm_lightning.types import InputError

SUFFIXES = (
    *(".apng", ".bmp", ".dib", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
"""The suffixes of image files, in lower case."""


def pictures_in(folder: Path, ids: Iterable[str]) -> dict[str, Path]:
    """Return the file per id: the file of that name, with or without suffix, or, as in COCO, ending in that number.

    Args:
        folder: Folder that is searched with its subfolders; a name may include those.
        ids: Names or numbers of images: ``a.jpg``, ``val/a``, ``42`` (also ``COCO_val2014_000000000042.jpg``).

    Raises:
        InputError: The folder does not exist, or an id has no file or several files.
    """
    files: dict[str, set[Path]] = {}
    for path in picture_files(folder):
        for name in _names(path.relative_to(folder)):
            files.setdefault(name, set()).add(path)
    return {key: _only(files.get(key, set()), key, folder) for key in ids}


def picture_files(folder: Path) -> list[Path]:
    """Return the image files of a folder and its subfolders, sorted by name.

    Virtual file systems, such as ``/proc`` below ``/``, are not searched.

    Raises:
        InputError: The folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"--images {folder}: no such folder")
    return sorted(path for path in _files(folder) if path.suffix.lower() in SUFFIXES and path.is_file())


def files_named(folder: Path, names: Collection[str]) -> list[Path]:
    """Return the files of a folder and its subfolders that have one of the names, sorted."""
    return sorted(path for path in _files(folder) if path.name in names)


def numbered_files(folder: Path) -> dict[int, Path]:
    """Return the images of a folder and its subfolders by the number at the end of their names, as in COCO.

    Raises:
        InputError: The folder does not exist, or two images have one number.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name the folder of the images")
    files: dict[int, Path] = {}
    for path in picture_files(folder):
        if number := re.search(r"[0-9]+$", path.stem):
            other = files.setdefault(int(number[0]), path)
            if other is not path:
                raise InputError(f"{path}: has the number of {other}: name a folder that holds each image once")
    return files


def other_files(folder: Path) -> list[Path]:
    """Return the files of a folder and its subfolders that have no suffix of an image, except hidden ones."""
    files = (path for path in _files(folder) if not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() not in SUFFIXES)


_MOUNTS = Path("/proc/self/mounts")
_VIRTUAL = {"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "autofs"}


def _files(folder: Path) -> Iterator[Path]:
    virtual, start = set(_virtual_folders()), os.path.realpath(folder)  # the mounts have no links in their paths
    for place, folders, names in os.walk(folder):
        real = os.path.normpath(os.path.join(start, os.path.relpath(place, folder)))
        folders[:] = [name for name in folders if os.path.join(real, name) not in virtual]
        yield from (Path(place, name) for name in names)


def _virtual_folders() -> Iterator[str]:
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape").split("\n")
    except OSError:  # not Linux
        return
    for words in (line.split(" ") for line in mounts):
        if len(words) > 2 and words[2] in _VIRTUAL:
            yield re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[1])  # a space is written \040


def _names(path: Path) -> Iterator[str]:
    for whole in (path, Path(path.name)):
        yield from (whole.as_posix(), whole.with_suffix("").as_posix())
    number = re.search(r"[0-9]+$", path.stem)
    if number:
        yield str(int(number[0]))


def _only(files: set[Path], key: str, folder: Path) -> Path:
    if len(files) == 1:
        return files.pop()
    problem = f"has {len(files)} files, such as {sorted(files)[0]}" if files else "has no file"
    raise InputError(f"image {show(key)} {problem} in {folder}: --images must hold one image of that name or number")

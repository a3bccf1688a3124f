"""A split's decoded pictures in one file, written beside and renamed: a half-written one is never taken for whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from velm_lightning.io.atomic import make_folder, refusal, remove_parts_of, replacing
from velm_lightning.types import ImageTransform

_VERSION = 2  # of the file's layout and of the decoding: a new number leaves the old files aside


def default_folder() -> Path:
    """Return where caches lie unless the user says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "velm_lightning"


def cache_key(paths: Sequence[Path], transform: ImageTransform) -> str:
    """Return a name that changes with any file's name, size or time, and with the geometry."""
    digest = hashlib.sha256(repr((_VERSION, transform[:4])).encode())
    for path in paths:
        try:
            stat = path.stat()
            state = (stat.st_size, stat.st_mtime_ns)
        except (OSError, ValueError):
            state = (-1, -1)
        digest.update(f"\n{os.path.abspath(path)}\0{state}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def open_cache(path: Path, count: int, size: int) -> tuple[Tensor, Tensor] | None:
    """Map a whole cache: pixels (count, 3, size, size) uint8 and which of them could be read (count,) bool.

    Processes share its pages. Returns nothing where the file is missing or is not of the right length.
    """
    pixels = count * 3 * size * size
    if not path.is_file() or path.stat().st_size != pixels + count:
        return None
    whole = torch.from_file(str(path), shared=False, size=pixels + count, dtype=torch.uint8)
    return whole[:pixels].view(count, 3, size, size), whole[pixels:].bool()


def build_cache(path: Path, count: int, size: int, pictures: Iterable[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Return the cache at ``path``, built from ``pictures`` where there is none; a second process waits for the first.

    Raises:
        InputError: the folder cannot be written, or the disk is full; no part of the file is left.
    """
    found = open_cache(path, count, size)
    if found is not None:
        return found
    make_folder(path.parent)
    try:
        with FileLock(path.with_suffix(".lock")):
            found = open_cache(path, count, size)
            if found is None:
                remove_parts_of(path)
                _write(path, pictures, bytes(3 * size * size))
                found = open_cache(path, count, size)
    except OSError as error:
        raise refusal(path, error) from error
    assert found is not None, "a cache just written is whole"
    return found


def _write(path: Path, pictures: Iterable[Tensor | None], blank: bytes) -> None:
    """Write pixels, then one byte a picture: 1 where it could be read."""

    def rows() -> Iterator[bytes]:
        for picture in pictures:
            good.append(picture is not None)
            yield blank if picture is None else picture.contiguous().numpy().tobytes()

    good: list[bool] = []
    with replacing(path) as file:
        file.writelines(rows())
        file.write(bytes(good))

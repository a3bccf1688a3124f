"""The decoded images of a split in one memory-mapped file."""

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

_VERSION = 2  # of the file's layout and the decoding; a new number ignores files on disk


def default_folder() -> Path:
    """Return the default folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "velm_lightning"


def cache_key(paths: Sequence[Path], transform: ImageTransform) -> str:
    """Return a key that changes with the name, size or time of any file, and with the geometry."""
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
    """Map a cache: pixels (count, 3, size, size) uint8 and which images could be read (count,) bool.

    Processes share its pages. Returns None if the file is missing or has the wrong length.
    """
    pixels = count * 3 * size * size
    if not path.is_file() or path.stat().st_size != pixels + count:
        return None
    whole = torch.from_file(str(path), shared=False, size=pixels + count, dtype=torch.uint8)
    return whole[:pixels].view(count, 3, size, size), whole[pixels:].bool()


def build_cache(path: Path, count: int, size: int, images: Iterable[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Return the cache at ``path``, built from ``images`` if it does not exist; a second process waits.

    Raises:
        InputError: The folder cannot be written, or the disk is full; no part of the file remains.
    """
    cache = open_cache(path, count, size)
    if cache is not None:
        return cache
    make_folder(path.parent)
    try:
        with FileLock(path.with_suffix(".lock")):
            cache = open_cache(path, count, size)
            if cache is None:
                remove_parts_of(path)
                _write(path, images, bytes(3 * size * size))
                cache = open_cache(path, count, size)
    except OSError as error:
        raise refusal(path, error) from error
    assert cache is not None, "the cache was just written"
    return cache


def _write(path: Path, images: Iterable[Tensor | None], blank: bytes) -> None:
    """Write the pixels, then one byte per image: 1 if it could be read, else 0."""

    def rows() -> Iterator[bytes]:
        for image in images:
            good.append(image is not None)
            yield blank if image is None else image.contiguous().numpy().tobytes()

    good: list[bool] = []
    with replacing(path) as file:
        file.writelines(rows())
        file.write(bytes(good))

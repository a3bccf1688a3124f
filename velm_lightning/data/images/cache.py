"""The decoded images of a split in one memory-mapped file."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from velm_lightning.io.atomic import make_folder, refusal, remove_parts_of, replacing
from velm_lightning.io.digests import raw
from velm_lightning.types import FilePart, ImageTransform

Shape = tuple[int, int, int]

_VERSION = 5  # of the file's layout and the decoding; a new number ignores files on disk


def default_folder() -> Path:
    """Return the default folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "velm_lightning"


def cache_key(files: Sequence[Path | FilePart], transform: ImageTransform) -> str:
    """Return a key that changes with the name, size or time of any file, and with the transform.

    Normalisation is applied by the encoder, except that padding has the mean colour.
    """
    geometry = {name: value for name, value in transform._asdict().items() if name not in ("mean", "std")}
    colour = transform.mean if transform.resize == "pad" else None
    digest = hashlib.sha256(repr((_VERSION, geometry, colour)).encode())
    states: dict[Path, str] = {}
    for file in files:
        path, part = (file.file, f" {file.offset} {file.length}") if isinstance(file, FilePart) else (file, "")
        if path not in states:
            states[path] = f"\n{os.path.abspath(path)}\0{_state(path)}"
        digest.update(f"{states[path]}{part}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _state(path: Path) -> tuple[int, int]:
    """Return size and time of a file, -1 if it is missing."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


class PixelCache(NamedTuple):
    """The images of a cache file, which processes share.

    Attributes:
        pixels: (count, 3, H, W) uint8, mapped from the file.
        good: (count,) bool, which images could be read.
        checksums: (count,) int64, the ``checksum`` of each image when it was written.
    """

    pixels: Tensor
    good: Tensor
    checksums: Tensor


def checksum(image: Tensor) -> int:
    """Return the CRC-32 of the values of an image."""
    return zlib.crc32(raw(image))


def open_cache(path: Path, count: int, shape: Shape) -> PixelCache | None:
    """Map a cache without reading its pixels.

    Returns None if the file is missing, has the wrong length or a damaged index.
    """
    pixels, index = count * prod(shape), 5 * count
    if not path.is_file() or path.stat().st_size != pixels + index + 4:
        return None
    whole = torch.from_file(str(path), shared=False, size=pixels + index + 4, dtype=torch.uint8)
    entries = whole[pixels:-4].numpy().tobytes()
    if zlib.crc32(entries).to_bytes(4, "little") != whole[-4:].numpy().tobytes():
        return None
    sums = np.frombuffer(entries, "<u4", offset=count).astype(np.int64)
    good = torch.tensor(list(entries[:count]), dtype=torch.bool)
    return PixelCache(whole[:pixels].view(count, *shape), good, torch.from_numpy(sums))


def build_cache(path: Path, count: int, shape: Shape, images: Iterable[Tensor | None]) -> PixelCache:
    """Return the cache at ``path``, built from ``images`` if it does not exist; a second process waits.

    Raises:
        InputError: The folder cannot be written, or the disk is full; no part of the file remains.
    """
    cache = open_cache(path, count, shape)
    if cache is not None:
        return cache
    make_folder(path.parent)
    try:
        with FileLock(path.with_suffix(".lock")):
            cache = open_cache(path, count, shape)
            if cache is None:
                remove_parts_of(path)
                _write(path, images, bytes(prod(shape)))
                cache = open_cache(path, count, shape)
    except OSError as error:
        raise refusal(path, error) from error
    assert cache is not None, "the cache was just written"
    return cache


def _write(path: Path, images: Iterable[Tensor | None], blank: bytes) -> None:
    """Write the pixels, the index and the checksum of the index.

    The index has a byte per image, 1 if it could be read, else 0, then four bytes per image, its checksum.
    """

    def rows() -> Iterator[bytes]:
        for image in images:
            row = blank if image is None else image.contiguous().numpy().tobytes()
            good.append(image is not None)
            sums.append(zlib.crc32(row))
            yield row

    good, sums = list[bool](), list[int]()
    with replacing(path) as file:
        file.writelines(rows())
        index = bytes(good) + np.array(sums, "<u4").tobytes()
        file.write(index + zlib.crc32(index).to_bytes(4, "little"))

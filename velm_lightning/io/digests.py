"""What names a picture by its content, so that whatever was made of it is found again, and only then."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from velm_lightning.types import Image, InputError

SIZE = 16
"""Bytes of a digest."""

_AT_REST = 3.0  # seconds without a change after which a file's times tell of the next one, on any file system


def raw(value: Tensor) -> memoryview:
    """Return the bytes of a tensor on the CPU, without a copy where it is contiguous."""
    return value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


def digest_of(image: Path | Tensor) -> bytes:
    """Return a digest of a file's bytes, or of a tensor's values and shape.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(image, Tensor):
        digest = blake2b(repr((image.dtype, tuple(image.shape))).encode(), digest_size=SIZE)
        digest.update(raw(image))
        return digest.digest()
    try:
        return blake2b(image.read_bytes(), digest_size=SIZE).digest()
    except OSError as error:
        raise InputError(f"{image}: cannot be read ({error.strerror}): mend its name or remove its rows") from error


def digests_of(images: Sequence[Path | Tensor], folder: Path) -> list[bytes]:
    """Return the digest of every picture.

    Files are read once: a note in ``folder`` keeps their digests for as long as no file's name, place, size or times
    change.

    Raises:
        InputError: a file cannot be read.
    """
    files = [image for image in images if isinstance(image, Path)]
    note = _note(files, folder) if len(files) == len(images) else None
    found = _noted(note, len(files)) if note is not None else None
    if found is None:
        with threads() as pool:
            found = list(pool.map(digest_of, images))
        if note is not None and note == _note(files, folder):
            _write(note, b"".join(found))
    return found


def source_id(image: Image) -> Hashable:
    """Return a value that two samples share if they show the same file, tensor or clip."""
    if isinstance(image, tuple):
        return tuple(source_id(frame) for frame in image)
    return image if isinstance(image, Path) else (image.data_ptr(), image.shape, image.stride())


class ImageMarks:
    """What tells whether images have changed: a file's size in bytes, a tensor's digest; no file is read."""

    def __init__(self) -> None:
        self._tensors: dict[Hashable, tuple[Tensor, str]] = {}  # with the tensor, so that its memory stays its own

    def of(self, image: Image) -> Hashable:
        """Return the mark of an image or clip; -1 stands for a file that is missing."""
        if isinstance(image, tuple):
            return tuple(self.of(frame) for frame in image)
        if isinstance(image, Path):
            return image.stat().st_size if image.is_file() else -1
        key = source_id(image)
        if key not in self._tensors:
            self._tensors[key] = image, digest_of(image).hex()
        return self._tensors[key][1]


def contents_of(images: Sequence[Image]) -> list[Hashable]:
    """Return for each picture or clip a value that two of them share exactly if their contents are the same.

    A file that cannot be read is only the same as itself.
    """
    frames = [image if isinstance(image, tuple) else (image,) for image in images]
    sources = {source_id(frame): frame for clip in frames for frame in clip}
    with threads() as pool:
        contents = dict(zip(sources, pool.map(_content, sources.values()), strict=True))
    return [tuple(contents[source_id(frame)] for frame in clip) for clip in frames]


def _content(image: Path | Tensor) -> Hashable:
    try:
        return digest_of(image)
    except InputError:
        return image


def threads() -> ThreadPoolExecutor:
    """Return threads for reading and decoding, which leave Python's lock while they work."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return ThreadPoolExecutor(min(8, cores))


def _note(files: Sequence[Path], folder: Path) -> Path | None:
    """Return the file that notes the digests of ``files`` as they are now; none while one may still be changing."""
    name, latest = blake2b(digest_size=SIZE), 0
    for file in files:
        try:
            found = file.stat()
        except OSError:
            return None
        # The time of change cannot be set by a user, so that a file put in place of another with its times is noticed.
        state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        name.update(f"{os.path.abspath(file)}\0{state}\n".encode("utf-8", "surrogateescape"))
        latest = max(latest, found.st_ctime_ns)
    at_rest = time.time() - latest / 1e9 > _AT_REST
    return folder / f"{name.hexdigest()}.digests" if at_rest else None


def _noted(note: Path, count: int) -> list[bytes] | None:
    try:
        check, content = (whole := note.read_bytes())[:SIZE], whole[SIZE:]
    except OSError:
        return None
    if len(content) != count * SIZE or check != blake2b(content, digest_size=SIZE).digest():
        return None
    return [content[start : start + SIZE] for start in range(0, len(content), SIZE)]


def _write(note: Path, content: bytes) -> None:
    """Write a note; it saves time only, so that a folder that cannot be written is no error."""
    part = note.with_suffix(f".{os.getpid()}")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(blake2b(content, digest_size=SIZE).digest() + content)
        part.replace(note)
    except OSError:
        part.unlink(missing_ok=True)

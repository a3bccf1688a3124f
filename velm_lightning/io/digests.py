"""What names a picture by its content, so that whatever was made of it is found again, and only then."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.threads import threads
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


def contents_of(images: Sequence[Image]) -> list[Hashable]:
    """Return for each picture or clip a value that two of them share exactly if their contents are the same.

    A file that cannot be read is only the same as itself.
    """
    frames = [image if isinstance(image, tuple) else (image,) for image in images]
    sources = {image_key(frame): frame for clip in frames for frame in clip}
    with threads() as pool:
        contents = dict(zip(sources, pool.map(_content, sources.values()), strict=True))
    return [tuple(contents[image_key(frame)] for frame in clip) for clip in frames]


def image_key(image: Image) -> Hashable:
    """Return a value that is equal for the same file, the same tensor or a clip of the same frames."""
    if isinstance(image, tuple):
        return tuple(image_key(frame) for frame in image)
    return image if isinstance(image, Path) else (image.data_ptr(), image.shape, image.stride())


def _content(image: Path | Tensor) -> Hashable:
    try:
        return digest_of(image)
    except InputError:
        return image


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
    with suppress(InputError):
        write_atomic(note, blake2b(content, digest_size=SIZE).digest() + content)

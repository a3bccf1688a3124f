"""Digests of images, the keys under which results computed from them are cached."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b, file_digest
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from velm_lightning.errors import unreadable
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.files import open_file
from velm_lightning.io.threads import threads
from velm_lightning.types import FilePart, Image, InputError, Source, frames_of

SIZE = 16
"""Number of bytes of a digest."""

_AT_REST = 3.0  # seconds without a change after which the next change alters a file's times on every file system


def raw(value: Tensor) -> memoryview:
    """Return the bytes of a tensor on the CPU, without a copy if it is contiguous."""
    return value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


def digest_of(image: Source) -> bytes:
    """Return a digest of a file's bytes, also if it is within another file, or of a tensor's values and shape.

    Raises:
        InputError: The file cannot be read.
    """
    if isinstance(image, Tensor):
        digest = blake2b(repr((image.dtype, tuple(image.shape))).encode(), digest_size=SIZE)
        digest.update(raw(image))
        return digest.digest()
    if isinstance(image, FilePart):
        return blake2b(image.read(), digest_size=SIZE).digest()
    try:
        with open_file(image) as file:
            return file_digest(file, lambda: blake2b(digest_size=SIZE)).digest()
    except OSError as error:
        raise unreadable(image, error, "correct the name or remove its rows") from error


def digests_of(images: Sequence[Source], folder: Path) -> list[bytes]:
    """Return the digest of every image.

    Files are read once: a note in ``folder`` keeps the digests until the name, location, size or times of a file
    change.

    Raises:
        InputError: A file cannot be read.
    """
    files = [image for image in images if isinstance(image, Path)]
    note = _note(files, folder) if len(files) == len(images) else None
    digests = _noted(note, len(files)) if note is not None else None
    if digests is None:
        digests = _digests(images)
        if note is not None and note == _note(files, folder):
            _write(note, b"".join(digests))
    return digests


def _digests(images: Sequence[Source]) -> list[bytes]:
    """Return the digest of every image; a file with many of them is opened once."""
    parts = dict(_digests_of_parts(image for image in images if isinstance(image, FilePart)))
    with threads() as pool:
        others = pool.map(digest_of, (image for image in images if not isinstance(image, FilePart)))
        return [parts[image] if isinstance(image, FilePart) else next(others) for image in images]


def _digests_of_parts(parts: Iterable[FilePart]) -> Iterator[tuple[FilePart, bytes]]:
    in_order = sorted(parts, key=lambda part: (str(part.file), part.offset))
    for path, within in groupby(in_order, key=lambda part: part.file):
        try:
            with open_file(path) as file:
                for part in within:
                    file.seek(part.offset)
                    content = file.read(part.length)
                    yield (
                        part,
                        blake2b(content if len(content) == part.length else part.read(), digest_size=SIZE).digest(),
                    )
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error


class ImageMarks:
    """Marks that change with an image: the size of a file in bytes, the digest of a tensor. No file is read."""

    def __init__(self) -> None:
        self._tensors: dict[Hashable, tuple[Tensor, str]] = {}  # with the tensor, so that its memory is not reused

    def of(self, image: Image) -> Hashable:
        """Return the mark of an image or clip; -1 stands for a file that is missing."""
        if isinstance(image, tuple):
            return tuple(self.of(frame) for frame in image)
        if isinstance(image, FilePart):
            return image.length
        if isinstance(image, Path):
            return image.stat().st_size if image.is_file() else -1
        key = image_key(image)
        if key not in self._tensors:
            self._tensors[key] = image, digest_of(image).hex()
        return self._tensors[key][1]


def contents_of(images: Sequence[Image]) -> list[Hashable]:
    """Return a value per image or clip that is equal if and only if the contents are equal.

    An unreadable file is equal only to itself.
    """
    frames = [frames_of(image) for image in images]
    sources = {image_key(frame): frame for clip in frames for frame in clip}
    with threads() as pool:
        contents = dict(zip(sources, pool.map(_content, sources.values()), strict=True))
    return [tuple(contents[image_key(frame)] for frame in clip) for clip in frames]


def image_key(image: Image) -> Hashable:
    """Return a value that is equal for the same file, the same tensor or a clip of the same frames."""
    if isinstance(image, tuple):
        return tuple(image_key(frame) for frame in image)
    return (image.data_ptr(), image.shape, image.stride()) if isinstance(image, Tensor) else image


def _content(image: Source) -> Hashable:
    try:
        return digest_of(image)
    except InputError:
        return image


def state_of(files: Sequence[Path]) -> str | None:
    """Return a digest of the names, sizes and times of files; None if one is missing or changed just now."""
    name, latest = blake2b(digest_size=SIZE), 0
    for file in files:
        try:
            status = file.stat()
        except OSError:
            return None
        # A user cannot set the change time, so that a replacement with the old modification time is detected.
        state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        name.update(f"{os.path.abspath(file)}\0{state}\n".encode("utf-8", "surrogateescape"))
        latest = max(latest, status.st_ctime_ns)
    return name.hexdigest() if time.time() - latest / 1e9 > _AT_REST else None


def _note(files: Sequence[Path], folder: Path) -> Path | None:
    """Return the file with the digests of ``files`` in their current state; None if one changed just now."""
    state = state_of(files)
    return None if state is None else folder / f"{state}.digests"


def _noted(note: Path, count: int) -> list[bytes] | None:
    try:
        check, content = (whole := note.read_bytes())[:SIZE], whole[SIZE:]
    except OSError:
        return None
    if len(content) != count * SIZE or check != blake2b(content, digest_size=SIZE).digest():
        return None
    return [content[start : start + SIZE] for start in range(0, len(content), SIZE)]


def _write(note: Path, content: bytes) -> None:
    """Write a note; an unwritable folder is ignored, because the note only saves time."""
    with suppress(InputError):
        write_atomic(note, blake2b(content, digest_size=SIZE).digest() + content)

"""Writing any dataset as shards and an index, which are read without holding all samples in memory."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Hashable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image as Pillow
from torch import Tensor

from velm_lightning.data.datasets.records import record_of
from velm_lightning.data.stored.imported import DESCRIPTION, FORMAT
from velm_lightning.errors import unreadable
from velm_lightning.io.atomic import new_folder, refusal
from velm_lightning.io.digests import image_key
from velm_lightning.io.files import open_file
from velm_lightning.types import SPLITS, Dataset, FilePart, Image, InputError, Sample, Source, frames_of

SHARD = 2**30
"""Bytes after which a new shard begins."""


def import_dataset(dataset: Dataset, folder: Path, shard: int = SHARD) -> dict[str, int]:
    """Write all splits of a dataset into a new folder, which appears once it is complete.

    Every image is stored once, as the file that it was; pixels in memory are stored as PNG.

    Args:
        dataset: The dataset.
        folder: The folder, which must not exist.
        shard: Bytes after which a new shard begins.

    Returns:
        The number of samples per split.

    Raises:
        InputError: The folder exists or cannot be written, an image cannot be read, or the dataset has no samples.
    """
    if folder.exists():
        raise InputError(f"{folder} exists: name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as part:
            with Shards(part, shard) as shards:
                counts = {name: _write_split(dataset, name, part, shards) for name in SPLITS}
            if not any(counts.values()):
                raise InputError(f"{type(dataset).__name__} has no samples in any split: see its arguments")
            (part / DESCRIPTION).write_text(json.dumps({"format": FORMAT, "splits": counts}) + "\n", "utf-8")
    except OSError as error:
        raise refusal(folder, error) from error
    return counts


def _write_split(dataset: Dataset, name: str, folder: Path, shards: Shards) -> int:
    """Write the lines of a split and the places of their ends; return their number."""
    samples = dataset.split(name)
    if not samples:
        return 0
    ends = []
    with (folder / f"{name}.jsonl").open("wb") as lines:
        for sample in samples:
            lines.write(json.dumps(_record(sample, shards), ensure_ascii=False).encode() + b"\n")
            ends.append(lines.tell())
    np.array(ends, "<i8").tofile(folder / f"{name}.index")
    return len(ends)


def _record(sample: Sample, shards: Shards) -> list[Any]:
    stored = [shards.add(frame) for frame in frames_of(sample.image)]
    return record_of(sample, stored if isinstance(sample.image, tuple) else stored[0])


class Shards:
    """Tar archives of images, of which each is stored once.

    Args:
        folder: Folder of the archives.
        size: Bytes after which a new one begins.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self._stored: dict[Hashable, tuple[str, int, int, str]] = {}
        self._kept: list[Image] = []  # so that the key of a tensor is not used again
        self._archive: tarfile.TarFile | None = None
        self._names = 0

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *error: object) -> None:
        if self._archive is not None:
            self._archive.close()

    def add(self, image: Source) -> tuple[str, int, int, str]:
        """Store an image, and return its shard, offset, length and name."""
        key = image_key(image)
        if key not in self._stored:
            self._kept += [image] if isinstance(image, Tensor) else []
            self._stored[key] = self._write(_content(image), _name(image))
        return self._stored[key]

    def _write(self, content: bytes, name: str) -> tuple[str, int, int, str]:
        archive = self._room()
        entry = tarfile.TarInfo(f"{len(self._stored):09d}{Path(name).suffix.lower() or '.img'}")
        entry.size = len(content)
        archive.addfile(entry, BytesIO(content))
        archive.members = []  # type: ignore[attr-defined]  # millions of them would fill the memory
        blocks = -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        return f"images-{self._names - 1:06d}.tar", archive.offset - blocks, len(content), name

    def _room(self) -> tarfile.TarFile:
        """Return the archive, or a new one if it is full."""
        if self._archive is None or self._archive.offset >= self.size:
            if self._archive is not None:
                self._archive.close()
            path = self.folder / f"images-{self._names:06d}.tar"
            self._archive = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            self._names += 1
        return self._archive


def _name(image: Source) -> str:
    if isinstance(image, Tensor):
        return "" if image.ndim == 1 else "pixels.png"
    return image.name


def _content(image: Source) -> bytes:
    """Return the bytes of an image file."""
    if isinstance(image, FilePart):
        return image.read()
    if isinstance(image, Tensor):
        if image.ndim == 1:
            return image.numpy().tobytes()
        file: BinaryIO = BytesIO()
        Pillow.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file, "PNG", compress_level=1)
        file.seek(0)
        return file.read()
    try:
        with open_file(image) as file:
            return file.read()
    except OSError as error:
        raise unreadable(image, error, "correct the name or remove its rows") from error

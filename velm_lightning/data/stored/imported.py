"""Data that ``velm data import`` has written: tar shards of images, and samples that are read one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from velm_lightning.data.datasets.located import FileDataset, Located
from velm_lightning.data.datasets.packed import Indexed
from velm_lightning.data.datasets.records import sample_of
from velm_lightning.io.files import fault, inside, show
from velm_lightning.io.record_files import read_json
from velm_lightning.types import FilePart, Image, InputError, Sample

DESCRIPTION, FORMAT = "velm_data.json", 1
"""Name of the file that marks such a folder, and the version of its layout."""


class ImportedData(FileDataset):
    """The samples of a folder that ``velm data import`` has written, read one by one when they are used.

    Args:
        path: The folder.

    Raises:
        InputError: The folder was not written by ``velm data import``, or by another version of its layout.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(Path(path))
        self.path = Path(path)
        described: Any = read_json(self.path / DESCRIPTION)
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise InputError(f"{self.path / DESCRIPTION}: has another layout than {FORMAT}: import the data again")

    @override
    def split(self, name: str) -> Sequence[Sample]:
        if name not in self._splits:
            exists = (self.path / f"{name}.jsonl").is_file()
            self._splits[name] = StoredSamples(self.path, name) if exists else []
        return self._splits[name]

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        samples, located = self.split(name), []
        for number in range(len(samples)):
            try:
                located.append(Located(f"{self.path / name}.jsonl:{number + 1}", samples[number]))
            except InputError as error:
                fault(error, problems)
        return located


class StoredSamples(Indexed[Sample]):
    """The samples of a split, of which only the places of their lines are in memory.

    Args:
        folder: The folder.
        name: Name of the split.

    Raises:
        InputError: The index is missing or does not fit the lines.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.file = folder, folder / f"{name}.jsonl"
        self._shards: dict[str, Path] = {}
        try:
            self.ends = np.fromfile(folder / f"{name}.index", "<i8")
            size = self.file.stat().st_size
        except OSError as error:
            raise InputError(f"{self.file}: its index cannot be read ({error.strerror}): import again") from error
        last = self.ends[-1] if len(self.ends) else 0
        if (self.ends < 0).any() or (np.diff(self.ends, prepend=0) <= 0).any() or last != size:
            raise InputError(f"{self.file}: does not fit its index: import the data again")

    def __iter__(self) -> Iterator[Sample]:
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines):
                yield self._sample(number, line)

    @override
    def _item(self, number: int) -> Sample:
        start, end = self._place(number)
        with self.file.open("rb") as lines:
            lines.seek(start)
            return self._sample(number, lines.read(end - start))

    def _sample(self, number: int, line: bytes) -> Sample:
        try:
            return sample_of(json.loads(line), self._image)
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"{self.file}:{number + 1}: {show(line)} is no sample ({show(str(error))}): import the data again"
            ) from error

    def _image(self, image: Any) -> Image:
        """Return a part of a shard, or the parts of a clip or of a conversation, which may have none."""
        if not isinstance(image, list):
            raise TypeError("the image must be a list")
        if not image or isinstance(image[0], list):
            return tuple(self._part(*frame) for frame in image)
        return self._part(*image)

    def _part(self, shard: str, offset: int, length: int, name: str) -> FilePart:
        if shard not in self._shards:
            self._shards[shard] = inside(self.folder, shard)
        if not isinstance(name, str) or any(type(number) is not int or number < 0 for number in (offset, length)):
            raise TypeError("offset and length of an image must be numbers from 0, and its name a text")
        return FilePart(self._shards[shard], offset, length, name)

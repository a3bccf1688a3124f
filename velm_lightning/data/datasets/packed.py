"""Samples packed as bytes, which take little memory and become objects only while they are used."""

from __future__ import annotations

import json
from abc import abstractmethod
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.datasets.located import Located
from velm_lightning.data.datasets.records import record_of, sample_of
from velm_lightning.types import FilePart, Image, Sample, Source

Item = TypeVar("Item")


class Packing:
    """Packs located samples one after the other."""

    def __init__(self) -> None:
        self._lines, self._ends = bytearray(), array("q")
        self._files: dict[Path, int] = {}
        self._tensors: list[Tensor] = []
        self._complete = True

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, located: Located) -> None:
        """Pack a sample with its location."""
        record = record_of(located.sample, self._image(located.sample.image))
        self._lines += json.dumps([located.where, record]).encode() + b"\n"
        self._ends.append(len(self._lines))

    def packed(self) -> PackedRows:
        """Return the samples, to which no others are added."""
        lines, ends = np.frombuffer(self._lines, np.uint8), np.frombuffer(self._ends, np.int64)
        return PackedRows(lines, ends, list(self._files), self._tensors, self._complete)

    def _image(self, image: Image) -> object:
        if isinstance(image, tuple):
            return {"frames": [self._image(frame) for frame in image]}
        if isinstance(image, FilePart):
            return [self._file(image.file), image.offset, image.length, image.name]
        self._complete = False
        if isinstance(image, Path):
            return [self._file(image.parent), image.name]
        self._tensors.append(image)
        return len(self._tensors) - 1

    def _file(self, path: Path) -> int:
        return self._files.setdefault(path, len(self._files))


class Indexed(Sequence[Item]):
    """Items that stand one after the other, a line each, and become objects only while they are used.

    Attributes:
        ends: (N,) the place after each line.
    """

    ends: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        numbers = range(len(self))[index]
        return self._item(numbers) if isinstance(numbers, int) else [self._item(number) for number in numbers]

    def _place(self, number: int) -> tuple[int, int]:
        """Return where the line of an item begins and ends."""
        return int(self.ends[number - 1]) if number else 0, int(self.ends[number])

    @abstractmethod
    def _item(self, number: int) -> Item:
        """Return the item of a number from 0."""


class _Packed(Indexed[Item]):
    """Items of packed rows; a copy in another process shares a file that is mapped into memory.

    Args:
        lines: The bytes of all samples, a line of JSON each.
        ends: (N,) the place after each line.
        files: The files that images are parts of, and the folders of images.
        tensors: The images that are in memory.
        complete: Whether all images are parts of files.
    """

    def __init__(
        self,
        lines: npt.NDArray[np.uint8],
        ends: npt.NDArray[np.int64],
        files: Sequence[Path],
        tensors: Sequence[Tensor] = (),
        complete: bool = True,
    ) -> None:
        self.lines, self.ends, self.files, self.tensors, self.complete = lines, ends, files, tensors, complete

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"lines": getattr(self.lines, "filename", None) or self.lines}  # of a mapped file its name

    def __setstate__(self, state: dict[str, Any]) -> None:
        lines = state["lines"]
        vars(self).update(state, lines=np.memmap(lines, np.uint8, "r") if isinstance(lines, str | Path) else lines)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _located(self, number: int) -> tuple[str, Sample]:
        where, record = json.loads(self.lines[slice(*self._place(number))].tobytes())
        return where, sample_of(record, self._image)

    def _image(self, image: Any) -> Image:
        return tuple(map(self._source, image["frames"])) if isinstance(image, dict) else self._source(image)

    def _source(self, image: Any) -> Source:
        if isinstance(image, int):
            return self.tensors[image]
        file = self.files[image[0]]
        return file / image[1] if len(image) == 2 else FilePart(file, *image[1:])


class PackedRows(_Packed[Located]):
    """Located samples that are unpacked when they are used."""

    @override
    def _item(self, number: int) -> Located:
        return Located(*self._located(number))

    @property
    def samples(self) -> PackedSamples:
        """The samples without their locations."""
        return PackedSamples(self.lines, self.ends, self.files, self.tensors)


class PackedSamples(_Packed[Sample]):
    """Samples that are unpacked when they are used."""

    @override
    def _item(self, number: int) -> Sample:
        return self._located(number)[1]

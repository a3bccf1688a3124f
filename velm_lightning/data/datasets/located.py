"""Datasets read from files: every sample knows its file and line, and a check sees all faults instead of the first."""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple

from velm_lightning.io.files import show
from velm_lightning.types import SPLITS, Dataset, InputError, Sample


class Located(NamedTuple):
    """A sample with the file and line that it came from."""

    where: str
    sample: Sample


class FileDataset(Dataset):
    """A dataset that can also be read for a check; it writes ``embed_text`` alone.

    Args:
        images: folder that all its pictures lie in.

    Attributes:
        official: whether the splits are published ones, which are kept as they are even if they share pictures.
    """

    official: ClassVar[bool] = False

    def __init__(self, images: Path) -> None:
        self.images = images
        self._splits: dict[str, Sequence[Sample]] = {}

    @abstractmethod
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        """Return the samples of a split with their places.

        Args:
            name: ``train``, ``val`` or ``test``.
            problems: where given, what is wrong is noted there, the row is left out and reading goes on.

        Raises:
            InputError: as ``split``, where ``problems`` is not given.
        """

    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of a split in the order of its file; the file is read once.

        Raises:
            InputError: the message names the file, the line and the mend.
        """
        if name not in SPLITS:
            raise InputError(f"{name!r} is not a split: use {', '.join(SPLITS)}")
        if name not in self._splits:
            with _no_collection():
                self._splits[name] = [located.sample for located in self.read(name)]
        return self._splits[name]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out while millions of records are made, none of them garbage: four times as fast."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def add(found: dict[str, Located], one: Located) -> None:
    """Add a sample under its key.

    Raises:
        InputError: another one has that key.
    """
    other = found.setdefault(one.sample.key, one)
    if other is not one:
        key = show(one.sample.key)
        raise InputError(f"{one.where}: key {key} stands in {other.where} too: give each row its own")

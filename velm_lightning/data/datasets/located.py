"""Base class of datasets that are read from files, with the file and line of every sample."""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from typing_extensions import override

from velm_lightning.data.datasets.image_names import ImageNames
from velm_lightning.io.files import show
from velm_lightning.io.paths import user_path
from velm_lightning.types import SPLITS, Dataset, InputError, Sample


class Located(NamedTuple):
    """A sample with its file and line."""

    where: str
    sample: Sample


class FileDataset(Dataset):
    """A dataset that is read from files; subclasses implement ``read``.

    Args:
        images: Folder of all images.
        links: Whether links to images may lead out of ``images``, as in snapshots of the hub, DVC and git-annex.
        absolute_names: Whether images may have absolute names, or names with ``~``.

    Attributes:
        official: Whether the splits are published ones, which may share images.
        image_names: The rule by which names of images become files.
    """

    official: ClassVar[bool] = False

    def __init__(
        self, images: Path, links: Literal["refuse", "follow"] = "refuse", absolute_names: bool = False
    ) -> None:
        self.images = user_path(images)
        self.image_names = ImageNames(links == "follow", absolute_names)
        self._splits: dict[str, Sequence[Sample]] = {}

    def image_file(self, name: object, where: str, folder: Path | None = None) -> Path:
        """Return the file of an image that a file of data names, below ``folder`` or ``images``.

        Raises:
            InputError: The name leads elsewhere, and ``links`` or ``absolute_names`` do not allow it.
        """
        return self.image_names.file(folder or self.images, name, where)

    @abstractmethod
    def read(self, name: str, problems: list[str] | None = None) -> Sequence[Located]:
        """Return the samples of a split with their locations.

        Args:
            name: ``train``, ``val`` or ``test``.
            problems: If given, errors of rows are appended to it and the rows are skipped.

        Raises:
            InputError: As ``split``, if ``problems`` is not given.
        """

    @override
    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of a split in the order of its file; the file is read once.

        Raises:
            InputError: The split or a file is invalid; the message names the file, the line and the fix.
        """
        if name not in SPLITS:
            raise InputError(f"{name!r} is not a split: use {', '.join(SPLITS)}")
        if name not in self._splits:
            with _no_collection():
                self._splits[name] = self._without_locations(self.read(name))
        return self._splits[name]

    def _without_locations(self, rows: Sequence[Located]) -> Sequence[Sample]:
        """Return the samples of the rows that ``read`` returned."""
        return [located.sample for located in rows]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disable the garbage collector while millions of records are created, which is four times as fast."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def add(samples: dict[str, Located], located: Located) -> None:
    """Add a sample under its key.

    Raises:
        InputError: Another sample has that key.
    """
    other = samples.setdefault(located.sample.key, located)
    if other is not located:
        key = show(located.sample.key)
        raise InputError(f"{located.where}: key {key} is also in {other.where}: give each row its own key")

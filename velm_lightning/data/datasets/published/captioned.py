"""Base class and helpers of datasets of captioned images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import override

from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.io.files import clean_text, fault, show
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import InputError, Sample


class Caption(NamedTuple):
    """A caption and the key of its training sample."""

    key: str
    text: str


class CaptionedImage(NamedTuple):
    """An image with all its captions, which are empty if they are not published."""

    where: str
    key: str
    image: Path
    captions: Sequence[Caption]

    def samples(self, training: bool) -> Iterator[Located]:
        """Yield one sample per caption in training, else one with the first caption as target; all are references."""
        references = tuple(caption.text for caption in self.captions)
        if training:
            for key, text in self.captions:
                yield Located(self.where, Sample(key, self.image, "", text, references))
        else:
            target = references[0] if references else None
            yield Located(self.where, Sample(self.key, self.image, "", target, references))


class CaptionDataset(FileDataset):
    """A dataset of captioned images; subclasses implement ``captioned_images``."""

    @abstractmethod
    def captioned_images(self, name: str, problems: list[str] | None = None) -> Iterator[CaptionedImage]:
        """Yield the images of a split with their captions; arguments and errors as ``FileDataset.read``."""

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        samples: dict[str, Located] = {}
        for image in self.captioned_images(name, problems):
            for sample in image.samples(name == "train"):
                try:
                    add(samples, sample)
                except InputError as error:
                    fault(error, problems)
        return list(samples.values())


def records(
    whole: object, path: Path, name: str, fields: Sequence[str], problems: list[str] | None = None
) -> Iterator[TableRow]:
    """Yield the records of a list in a JSON file, located by the first of their required fields.

    Args:
        whole: Value of the file.
        path: The file.
        name: Key of the list.
        fields: Required fields of a record.
        problems: If given, errors of records are appended to it and the records are skipped.

    Raises:
        InputError: The list is missing or empty, or a record lacks a field and ``problems`` is not given.
    """
    entries = whole.get(name) if isinstance(whole, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: has no list {name!r} with anything in it: is it a file of {name}?")
    for number, record in enumerate(entries, 1):
        missing = [field for field in fields if field not in record] if isinstance(record, dict) else list(fields)
        if missing:
            fault(InputError(f"{path}: {name} item {number} has no {', '.join(missing)}: {show(record)}"), problems)
        else:
            yield TableRow(f"{path}: {name} {fields[0]} {show(record[fields[0]])}", record)


def id_text(value: Any, name: str, where: str) -> str:
    """Return an id as a string, because some files write 42 and others "42".

    Raises:
        InputError: The value is neither an integer nor a non-empty string.
    """
    text = clean_text(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not text:
        raise InputError(f"{where}: {name} is {show(value)}: give a whole number or a name")
    return text


def caption_text(value: Any, where: str, name: str = "caption", empty: bool = False) -> str:
    """Return a caption as one line.

    Raises:
        InputError: The value is not a string, or is empty and ``empty`` is False.
    """
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {'null' if value is None else show(value)}: write a text or remove it")
    text = clean_text(value)
    if not text and not empty:
        raise InputError(f"{where}: {name} is empty: write a text or remove it")
    return text

"""Pictures with captions become samples in one way, whatever files they come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.io.files import TableRow, clean_text, fault, inside, show
from velm_lightning.types import InputError, Sample


class Caption(NamedTuple):
    """A sentence about a picture, and the key of the training sample that learns it."""

    key: str
    text: str


class Picture(NamedTuple):
    """A picture with all its captions; without any where they are kept secret."""

    where: str
    key: str
    image: Path
    captions: Sequence[Caption]

    def samples(self, training: bool) -> Iterator[Located]:
        """Yield a sample a caption in training, elsewhere one with the first caption as target; all are references."""
        references = tuple(caption.text for caption in self.captions)
        if training:
            for key, text in self.captions:
                yield Located(self.where, Sample(key, self.image, "", text, references))
        else:
            target = references[0] if references else None
            yield Located(self.where, Sample(self.key, self.image, "", target, references))


class CaptionDataset(FileDataset):
    """A dataset of captioned pictures; it writes ``pictures`` alone."""

    @abstractmethod
    def pictures(self, name: str, problems: list[str] | None = None) -> Iterator[Picture]:
        """Yield the pictures of a split with their captions; arguments and errors as ``FileDataset.read``."""

    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        """See ``FileDataset.read``."""
        found: dict[str, Located] = {}
        for picture in self.pictures(name, problems):
            for one in picture.samples(name == "train"):
                try:
                    add(found, one)
                except InputError as error:
                    fault(error, problems)
        return list(found.values())


def records(
    whole: object, path: Path, name: str, fields: Sequence[str], problems: list[str] | None = None
) -> Iterator[TableRow]:
    """Yield the records of a list in a JSON file, each named by the first of the fields that it must have.

    Args:
        whole: what the file holds.
        path: the file.
        name: key of the list.
        fields: what every record must have.
        problems: where given, a broken record is noted there and left out.

    Raises:
        InputError: there is no such list; a record lacks a field, and ``problems`` is not given.
    """
    found = whole.get(name) if isinstance(whole, dict) else None
    if not isinstance(found, list) or not found:
        raise InputError(f"{path}: has no list {name!r} with anything in it: is it the file of captions?")
    for number, record in enumerate(found, 1):
        missing = [field for field in fields if field not in record] if isinstance(record, dict) else list(fields)
        if missing:
            fault(InputError(f"{path}: {name} item {number} has no {', '.join(missing)}: {show(record)}"), problems)
        else:
            yield TableRow(f"{path}: {name} {fields[0]} {show(record[fields[0]])}", record)


def id_text(value: Any, name: str, where: str) -> str:
    """Return an id as text, for one file writes 42 and another "42".

    Raises:
        InputError: it is no whole number and no text.
    """
    text = clean_text(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not text:
        raise InputError(f"{where}: {name} is {show(value)}: give a whole number or a name")
    return text


def caption_text(value: Any, where: str, name: str = "caption", empty: bool = False) -> str:
    """Return a caption on one plain line.

    Raises:
        InputError: it is no text, or there is nothing in it and it may not be ``empty``.
    """
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {'null' if value is None else show(value)}: write a text or remove it")
    text = clean_text(value)
    if not text and not empty:
        raise InputError(f"{where}: {name} is empty: write a text or remove it")
    return text


def picture_file(folder: Path, name: Any, where: str) -> Path:
    """Return the file of a picture below a folder.

    Raises:
        InputError: it is no name of a file in the folder.
    """
    try:
        return inside(folder, name)
    except InputError as error:
        raise InputError(f"{where}: image {error}") from error

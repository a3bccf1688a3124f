"""Tar shards of WebDataset: the files of a sample have one name and differ in their extension."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.data.datasets.readers.reading import Reader, Reading, starts_with
from velm_lightning.data.images.folder import SUFFIXES
from velm_lightning.io.files import clean_text, fault, show
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import FilePart, InputError

_TEXTS = {"txt": "caption", "text": "caption", "caption": "caption", "cls": "label"}
_COMPRESSED = (".tgz", ".tar.gz", ".tar.zst")
_LONGEST_TEXT = 2**24


class _Member(NamedTuple):
    """A file of a sample."""

    extension: str
    part: FilePart


def recognises(path: Path) -> bool:
    """Return whether a file is a tar archive."""
    return starts_with(path, b"ustar", 257) or (path.is_file() and path.name.endswith((".tar", *_COMPRESSED)))


def rows(path: Path, reading: Reading) -> Iterator[TableRow]:
    """Yield a row per sample: its image as a part of the shard, ``txt`` as caption, ``cls`` as label, fields of json.

    Files of other types, such as pickles, are not read.

    Raises:
        InputError: The archive is damaged or compressed.
    """
    if path.name.endswith(_COMPRESSED) and not starts_with(path, b"ustar", 257):
        raise InputError(f"{path}: a compressed shard cannot be read at any place: unpack it to a .tar file")
    key, members = None, list[_Member]()
    for name, member in _members(path, reading):
        if key is not None and name != key:
            yield from _row(path, key, members, reading)
            members = []
        key = name
        members.append(member)
    if key is not None:
        yield from _row(path, key, members, reading)


def _members(path: Path, reading: Reading) -> Iterator[tuple[str, _Member]]:
    """Yield the files of an archive with the names of their samples."""
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.size < 0:  # the next header would be this one again
                    raise tarfile.ReadError(f"{show(member.name)} has {member.size} bytes")
                folder, _, base = member.name.rpartition("/")
                stem, dot, extension = base.partition(".")
                if not member.isreg() or member.issparse() or not stem or not dot:
                    continue
                part = FilePart(path, member.offset_data, member.size, member.name)
                yield f"{folder}/{stem}".lstrip("./"), _Member(extension.lower(), part)
                archive.members = []  # type: ignore[attr-defined]  # an archive of millions of files would fill the memory
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        damaged = InputError(f"{path}: not a whole tar archive ({show(str(error))}): replace the file")
        fault(damaged, reading.problems)


def _row(path: Path, key: str, members: list[_Member], reading: Reading) -> Iterator[TableRow]:
    where = f"{path}: sample {show(key)}"
    values: dict[str, Any] = {"key": f"{reading.shard}/{key}" if reading.shard else key}
    images = {m.extension: m.part for m in members if f".{m.extension.rpartition('.')[2]}" in SUFFIXES}
    try:
        for extension, part in members:
            column = _TEXTS.get(extension)
            if column or extension == "json":
                text = _text(part, where)
                values |= {column: text} if column else _fields(text, where, values)
    except InputError as error:
        fault(error, reading.problems)
        return
    if len(images) == 1:
        values["image"] = next(iter(images.values()))
    yield TableRow(where, values | ({} if len(images) < 2 else images))


def _text(part: FilePart, where: str) -> str:
    if part.length > _LONGEST_TEXT:
        raise InputError(f"{where}: {part.name} has {part.length:,} bytes, more than {_LONGEST_TEXT:,}: remove it")
    try:
        return part.read().decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: {part.name} is not UTF-8 text: write the shard again") from error


def _fields(text: str, where: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a json file that no other file of the sample gives."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: its json file cannot be read ({clean_text(str(error))}): correct it") from error
    if not isinstance(fields, dict):
        raise InputError(f'{where}: its json file holds {show(fields)}: write a record, as {{"caption": …}}')
    return {name: value for name, value in fields.items() if name not in values}


WEBDATASET = Reader("a tar shard", recognises, rows)

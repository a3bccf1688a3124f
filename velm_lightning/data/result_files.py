"""Reading and writing files of generated captions and reference captions.

The format of results is COCO's (Chen et al. 2015, arXiv:1504.00325): ``[{"image_id": 42, "caption": "a dog runs"}]``.
Image ids are compared as strings, because some files write 42 and others "42".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.data.datasets.published.captioned import caption_text, id_text, records
from velm_lightning.data.datasets.published.karpathy import captions_of, image_id
from velm_lightning.io.files import clean_text, read_text, show
from velm_lightning.io.record_files import TableRow as Record
from velm_lightning.io.record_files import read_json, read_rows
from velm_lightning.types import InputError, Prediction

References = dict[str, tuple[str, ...]]
"""The reference captions of each image."""


class Results(NamedTuple):
    """One caption per image.

    Attributes:
        captions: Caption per image id; the ids of plain text are its line numbers.
        references: References in the predictions of a run; empty for other files.
    """

    captions: dict[str, str]
    references: References


def write_results(path: Path, captions: Mapping[str, str] | Iterable[Prediction]) -> None:
    """Write COCO results, one image per line; integer ids are written as numbers.

    Args:
        path: The file.
        captions: Caption per image id, or predictions.

    Raises:
        InputError: There are no captions, an image has two, or the file cannot be written.
    """
    pairs = captions.items() if isinstance(captions, Mapping) else [(row.key, row.prediction) for row in captions]
    by_image: dict[str, str] = {}
    for key, caption in pairs:
        if key in by_image:
            raise InputError(f"{path}: image {show(key)} has two captions: give each image one")
        by_image[key] = caption
    if not by_image:
        raise InputError(f"{path}: there are no captions to write")
    entries = ({"image_id": _number(key), "caption": clean_text(caption)} for key, caption in by_image.items())
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    write(path, f"[{lines}]\n")


def write(path: Path, text: str) -> None:
    """Write a text file.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}): name another file") from error


def read_results(path: Path) -> Results:
    """Read results: COCO's, a run's ``predictions/<split>.jsonl``, ``{"42": ["a dog runs"]}``, or one caption per line.

    Control characters become spaces. An empty caption is allowed and scores 0.

    Raises:
        InputError: There are no captions, an image has two, or a caption is null.
    """
    by_image: dict[str, str] = {}
    references: References = {}
    first: dict[str, str] = {}
    for where, key, captions, targets in _of_lines(path) if is_text(path) else _of_json(path):
        if key in by_image:
            raise InputError(f"{where}: image {show(key)} is also in {first[key]}: give each image one caption")
        if len(captions) != 1:
            raise InputError(f"{where}: {len(captions)} captions in results: give each image one")
        by_image[key], first[key] = captions[0], where
        if targets is not None:
            references[key] = targets
    if not by_image:
        raise InputError(f"{path}: holds no captions: was the file truncated?")
    return Results(by_image, references)


def read_references(paths: Sequence[Path]) -> References:
    """Read reference captions; several files are merged.

    Accepts the caption files of COCO and Karpathy, results with several captions per image,
    ``{"42": ["a dog runs", …]}``, the predictions of a run, or plain text: the references of line 1, 2, 3, … of the
    results. An empty list means an image without references.

    Raises:
        InputError: A file holds no captions, a caption is null or empty, or text files differ in length.
    """
    by_image: dict[str, list[str]] = {}
    lengths: dict[Path, int] = {}
    for path in paths:
        text = is_text(path)
        entries = list(_of_lines(path) if text else _of_reference_json(path))
        if not entries:
            raise InputError(f"{path}: holds no captions: was the file truncated?")
        if text:
            lengths[path] = len(entries)
        for where, key, captions, targets in entries:
            known = by_image.setdefault(key, [])
            known += [caption_text(caption, where) for caption in (captions if targets is None else targets)]
    if lengths and (len(set(lengths.values())) > 1 or len(lengths) < len(set(paths))):
        counts = ", ".join(f"{path} {lengths.get(path, 'is not plain text')}" for path in paths)
        raise InputError(f"references must be text files with the same number of lines: {counts}")
    return {key: tuple(captions) for key, captions in by_image.items()}


def is_text(path: Path) -> bool:
    """Return whether a file holds one caption per line instead of JSON."""
    return path.suffix.lower() == ".txt" or read_text(path).lstrip()[:1] not in ("[", "{")


class _Entry(NamedTuple):
    """The captions of an image in a file and, in the predictions of a run, its references."""

    where: str
    key: str
    captions: Sequence[str]
    references: tuple[str, ...] | None = None


def _of_lines(path: Path) -> Iterator[_Entry]:
    r"""Yield the lines of a text; only ``\n`` ends one."""
    lines = read_text(path).split("\n")
    for number, line in enumerate(lines if lines[-1].strip() else lines[:-1], 1):
        yield _Entry(f"{path}:{number}", str(number), [clean_text(line)])


def _of_json(path: Path) -> Iterator[_Entry]:
    if path.suffix.lower() != ".jsonl" and read_text(path).lstrip()[:1] == "{":
        whole = read_json(path)
        if "annotations" in whole or "images" in whole:
            raise InputError(f"{path}: is a file of references: give the results first, then --references {path}")
        yield from _of_mapping(whole, path)
        return
    for row in read_rows(path):
        yield _of_record(row)


def _of_reference_json(path: Path) -> Iterator[_Entry]:
    whole = read_json(path) if path.suffix.lower() != ".jsonl" else None
    if not isinstance(whole, dict) or not {"annotations", "images"} & whole.keys():
        yield from _of_json(path)
    elif "annotations" in whole:
        for row in records(whole, path, "annotations", ("image_id", "caption")):
            yield _of_record(row)
    else:
        for row in records(whole, path, "images", ("imgid", "sentences")):
            key = image_id(row)
            yield _Entry(row.where, key, [caption.text for caption in captions_of(row, key)])


def _of_mapping(whole: Mapping[str, Any], path: Path) -> Iterator[_Entry]:
    for key, value in whole.items():
        where = f"{path}: image {show(key)}"
        captions = value if isinstance(value, list) else [value]
        yield _Entry(
            where, id_text(key, "image id", where), [caption_text(text, where, empty=True) for text in captions]
        )


def _of_record(row: Record) -> _Entry:
    """Return the entry of a COCO result, an annotation or a prediction."""
    key, caption = ("key", "prediction") if "prediction" in row.values else ("image_id", "caption")
    missing = [name for name in (key, caption) if name not in row.values]
    if missing:
        raise InputError(f'{row.where}: has no {missing[0]}: write {{"image_id": …, "caption": …}}')
    image = id_text(row.values[key], key, row.where)
    captions = [caption_text(row.values[caption], row.where, caption, empty=True)]
    if key == "image_id":
        return _Entry(row.where, image, captions)
    references = row.values.get("references") or []
    if not isinstance(references, list):
        raise InputError(f"{row.where}: references are {show(references)}: give a list of captions")
    return _Entry(
        row.where, image, captions, tuple(caption_text(text, row.where, "a reference") for text in references)
    )


def _number(key: str) -> int | str:
    """Return an id as in JSON: "42" as a number, "007" and "a.jpg" as strings."""
    return int(key) if re.fullmatch(r"0|[1-9][0-9]{0,17}", key) else key

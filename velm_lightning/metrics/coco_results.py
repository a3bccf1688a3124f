"""Caption results and references as COCO's files have them, so that any system's captions can be scored.

Format: Chen et al. 2015, arXiv:1504.00325: results are a list of ``{"image_id", "caption"}``, references an object
whose ``annotations`` are a list of the same, several an image. Ids are read as strings: 42 and "42" are one image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from velm_lightning.types import InputError


def read_results(path: Path | str) -> dict[str, str]:
    """Read a results file: one caption an image.

    Raises:
        InputError: the file is missing, empty or no JSON of that form, a caption is null, or an image id is repeated;
            the message names the file and the entry.
    """
    results: dict[str, str] = {}
    for place, key, caption in _entries(path, _read(path)):
        if key in results:
            raise InputError(f"{path}, entry {place}: image_id {key} stands there twice; keep one caption an image")
        results[key] = caption
    return results


def read_references(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Read reference captions: COCO's annotation file, or an object of image id to list of captions.

    Raises:
        InputError: the file is missing, empty or of neither form, or a caption is null; the message names the place.
    """
    content = _read(path)
    if isinstance(content, Mapping) and "annotations" not in content:
        for key, captions in content.items():
            if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
                raise InputError(f"{path}, {key!r}: expected a list of captions, got {captions!r}")
        return {str(key): tuple(captions) for key, captions in content.items()}
    references: dict[str, list[str]] = {}
    for _, key, caption in _entries(path, content["annotations"] if isinstance(content, Mapping) else content):
        references.setdefault(key, []).append(caption)
    return {key: tuple(captions) for key, captions in references.items()}


def write_results(path: Path | str, captions: Mapping[str, str]) -> None:
    """Write captions as a results file; an id that is a whole number is written as one, as COCO's tools expect."""
    rows = [{"image_id": _number(key), "caption": caption} for key, caption in captions.items()]
    Path(path).write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def _read(path: Path | str) -> Any:
    """Read a JSON file that holds something."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: no JSON: {error.msg}") from None
    if not content:
        raise InputError(f"{path}: the file has no captions")
    return content


def _entries(path: Path | str, rows: Any) -> Iterator[tuple[int, str, str]]:
    """Yield place, image id and caption of each row."""
    if not isinstance(rows, list):
        raise InputError(f'{path}: expected a list of {{"image_id", "caption"}}, got {type(rows).__name__}')
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or "image_id" not in row or "caption" not in row:
            raise InputError(f"{path}, entry {place}: expected image_id and caption, got {str(row)[:80]}")
        if not isinstance(row["caption"], str):
            raise InputError(
                f"{path}, entry {place}: the caption of image_id {row['image_id']} is {row['caption']!r}; "
                "write an empty string for no caption"
            )
        yield place, str(row["image_id"]), row["caption"]


def _number(key: str) -> int | str:
    return int(key) if key.isdecimal() and str(int(key)) == key else key

"""Plain values of files from elsewhere, read and walked within limits."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError
from velm_lightning.io.files import MAX_UNPACKED, show

MOST_VALUES, MOST_DEPTH = 200_000, 100
"""Default limit on the number of values, and limit on their depth."""

MOST_RECORD = 2**26
"""Largest number of bytes of a record or config."""

LARGEST = 1e100
"""Largest absolute value of a number: sums and squares of such numbers are finite."""


def scalars(content: Any, name: str, most: int = MOST_VALUES) -> Iterator[Any]:
    """Yield the keys and the single values of nested mappings, lists, tuples and sets, in no particular order.

    A part that occurs several times, by an alias in YAML or a reference in a pickle, counts every time: a file of a few
    hundred bytes can hold more values than fit into any memory.

    Args:
        content: The nested values.
        name: The name of the file, for the message.
        most: Largest number of values.

    Raises:
        InputError: There are more values, or they are nested more than ``MOST_DEPTH`` deep, or within themselves.

    Example:
        >>> sorted(scalars({"a": [1, {"b": 2}]}, "x.json", 10), key=str)
        [1, 2, 'a', 'b']
    """
    waiting: list[tuple[Any, int]] = [(content, 0)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > most or depth > MOST_DEPTH:
            raise InputError(f"{name} holds more than {most:,} values or is nested more than {MOST_DEPTH} deep")
        if isinstance(value, Mapping):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, (list, tuple, set)):
            waiting += [(part, depth + 1) for part in value]
        else:
            yield value


def text_of(path: Path, most: int = MAX_UNPACKED) -> str:
    """Return the text of a regular file; reading a pipe or a device could wait forever.

    Args:
        path: The file.
        most: Largest number of its bytes. A file with holes can claim more than any memory, and take no space.

    Raises:
        InputError: If it is something else, or larger.
        FileNotFoundError: If there is none.
        OSError: If it cannot be read.
        ValueError: If it is not UTF-8.
    """
    return checked_size(path, most).read_text("utf-8")


def holds_text(path: Path, text: str) -> bool:
    """Return whether a record or config holds exactly a text; False if it cannot be read."""
    try:
        return text_of(path, MOST_RECORD) == text
    except (OSError, ValueError):
        return False


def checked_size(path: Path, most: int = MAX_UNPACKED) -> Path:
    """Return the path of a file, which must be a regular one and not too large; see ``text_of``."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path.name} is not a regular file")
    if (size := path.stat().st_size) > most:
        raise InputError(f"{path.name} has {size:,} bytes, more than {most:,}")
    return path


def check_plain(content: Mapping[str, Any], name: str) -> None:
    """Check that a file holds plain values that can be compared, sorted and printed.

    Args:
        content: the content of the file.
        name: the name of the file.

    Raises:
        InputError: If it holds too many values, is nested too deeply or within itself, or has a number above
            ``LARGEST``, a text that is not Unicode, or a key that is neither a text nor a number.
    """
    for value in scalars(content, name):
        _check_scalar(value, name)
    try:
        json.dumps(content, sort_keys=True, default=str)
    except TypeError as error:
        raise InputError(f"{name} has keys that are not texts: {error}") from error


def _check_scalar(value: Any, name: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{name} has a text that is not Unicode: {show(value)}") from error
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise InputError(f"{name} has a number of {value.bit_length()} bits, which is too large")
    elif isinstance(value, float) and LARGEST < abs(value) < math.inf:
        raise InputError(f"{name} has the number {value:g}, which is too large")


def number_of(value: Any) -> float:
    """Return a number as float; NaN if it is missing or infinite.

    Raises:
        ValueError: If its absolute value is above ``LARGEST``.
    """
    number = math.nan if value is None else float(value)
    if LARGEST < abs(number) < math.inf:
        raise ValueError(f"{number:g} is too large")
    return number if math.isfinite(number) else math.nan

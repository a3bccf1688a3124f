"""Reads the files of a run folder within limits; a file that cannot be read is named with the reason."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError
from velm_lightning.io.files import show
from velm_lightning.io.plain import MOST_RECORD, number_of, text_of
from velm_lightning.io.yaml_files import load_yaml

Curves = dict[str, tuple[list[float], list[float]]]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: If the file is missing, incomplete, or not a JSON object.
    """
    record = _parsed(path, json.loads, ValueError)
    if not isinstance(record, dict):
        raise InputError(f"{path.name} must hold a JSON object, got {type(record).__name__}")
    return record


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InputError: If the file is missing, malformed, or not a mapping.
    """
    settings = _parsed(path, load_yaml, InputError)
    if not isinstance(settings, dict):
        raise InputError(f"{path.name} must hold a mapping of settings, got {type(settings).__name__}")
    return settings


def _parsed(path: Path, parse: Any, fault: type[Exception]) -> Any:
    try:
        return parse(text_of(path, MOST_RECORD))
    except FileNotFoundError:
        raise InputError(f"it has no {path.name}") from None
    except (OSError, ValueError, RecursionError, fault) as error:
        raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}") from error


def read_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines in the folder ``predictions`` of a run.

    Raises:
        FileNotFoundError: If there is none.
        InputError: If it cannot be read.
    """
    try:
        text = text_of(folder / "predictions" / name)
        lines = filter(None, text.split("\n"))  # a prediction may contain other line ends
        rows: list[dict[str, Any]] = json.loads(f"[{','.join(lines)}]")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"predictions/{name} cannot be read: {error}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"predictions/{name} cannot be read: it has lines that are not JSON objects")
    return rows


def read_curves(path: Path) -> Curves:
    """Return the steps and values of the columns of ``metrics.csv``; empty if there is none.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return _columns(text_of(path))
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"metrics.csv cannot be read: {error}") from error


def _columns(text: str) -> Curves:
    curves: Curves = {}
    for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
        step = number_of(row.pop("step"))
        for name, value in row.items():
            if value:
                steps, values = curves.setdefault(printable(name), ([], []))
                steps.append(step)
                values.append(number_of(value))
    return curves


def printable(value: Any) -> str:
    """Return a value that must be a text that can be printed."""
    if not isinstance(value, str):
        raise TypeError(f"{show(value)} is not a text")
    value.encode()  # raises a ValueError for half of a pair of surrogates
    return value

"""Refuses configs that name code outside the allowed packages, before any of it is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from velm_lightning.io.files import read_text
from velm_lightning.types import SPLITS, InputError

PACKAGES = ("velm_lightning", "lightning", "torch", "torchvision", "torchmetrics", "transformers")
_SUFFIXES = (".yaml", ".yml")
_LARGEST = 2**16  # bytes; a larger file without a config's suffix is not scanned
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def check_configs(words: Sequence[str]) -> None:
    """Refuse configs among the words of a command line that name code outside the allowed packages.

    A class named on the command line itself is not checked. ``--allow NAME,NAME`` on the
    command line (in a config it means nothing) allows more packages.

    Raises:
        InputError: If a config names such a class; nothing of its package has been imported.
    """
    allowed = {*PACKAGES, *(name for value in _values(words, "--allow") for name in value.split(","))}
    for config in (*_values(words, "--config"), *_values(words, "-c")):
        check_file(Path(config), allowed)
    here = frozenset([Path().resolve()])
    for value in (word.rpartition("=")[2] for word in words):  # --data mine.yaml, --model=mine.yaml
        if _may_be_config(Path(value)):
            check_file(Path(value), allowed, here)


def check_file(path: Path, allowed: set[str], seen: frozenset[Path] = frozenset()) -> None:
    """Check one file and those that it names; see ``check_configs``.

    Raises:
        InputError: As ``check_configs``, or if the file is not YAML.
    """
    if not path.is_file():
        return  # the parser reports a missing file
    try:
        content = yaml.safe_load(read_text(path))
    except InputError:
        if path.suffix not in _SUFFIXES and seen:
            return
        raise
    except (RecursionError, ValueError) as error:  # nested too deep; a date that does not exist
        raise InputError(f"{path}: cannot be read as a config ({error}): simplify it") from error
    except yaml.YAMLError as error:
        if path.suffix not in _SUFFIXES and seen:
            return  # a file of another kind
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}: not YAML at column {mark.column + 1}" if mark else f"{path}: not YAML"
        raise InputError(f"{place} ({getattr(error, 'problem', None) or 'unreadable'}): correct it there") from error
    seen |= {path.resolve()}
    for key, value in _strings(content):
        nested = path.parent / value
        if key not in SPLITS and _may_be_config(nested) and nested.resolve() not in seen:
            check_file(nested, allowed, seen)
        package = value.split(".")[0]
        if _DOTTED.fullmatch(value) and package not in allowed and (key == "class_path" or _is_code(key, package)):
            raise InputError(
                f"{path}: {key}: {value} names code outside the allowed packages, which was not imported: "
                f"add --allow {package} if you trust it"
            )


def _may_be_config(path: Path) -> bool:
    """Return whether a value names a file that the parser would read as a part of the config, whatever its suffix."""
    try:
        return path.is_file() and (path.suffix in _SUFFIXES or path.stat().st_size <= _LARGEST)
    except (OSError, ValueError):
        return False


def _values(words: Sequence[str], option: str) -> Iterator[str]:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            yield following
        elif word.startswith(f"{option}="):
            yield word.removeprefix(f"{option}=")


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string with its key, for an item of a list the key of the list."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _strings(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)
    elif isinstance(value, str):
        yield key, value


def _is_code(key: str, package: str) -> bool:
    """Return whether a value such as ``a.b`` could be a class: the package exists, and the key takes no file."""
    try:
        spec = None if key in SPLITS else find_spec(package)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None  # a folder without Python files has none

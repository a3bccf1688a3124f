"""Finds the config and sweep files that a user names, also those that the installed package holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
WHEEL_FOLDERS = {"conf": "configs", "sweeps": "sweep_files"}  # folder in the repository: folder in the package
SUFFIXES = (".yaml", ".yml")


def find_config(name: str | PurePath, package: Path = PACKAGE) -> Path:
    """Return the file that a user means by a name such as ``conf/vqa.yaml``.

    The file of that name as seen from the working directory comes first, then the installed package's, then, for an
    editable install, the one in the checkout around the package.

    Args:
        name: The file as the user wrote it.
        package: The folder of the installed package.

    Returns:
        The first of these that exists, or ``name`` unchanged if none does.
    """
    path = Path(name)
    return path if _exists(path) else packaged_config(path, package) or path


def packaged_config(name: str | PurePath, package: Path = PACKAGE) -> Path | None:
    """Return the package's own file of that name, or None if it has none; see ``find_config``."""
    return next((path for path in _places(name, package) if _exists(path)), None)


def packaged_configs(folder: str, package: Path = PACKAGE) -> list[Path]:
    """Return the package's own config files in a folder such as ``conf/data``, sorted by their names."""
    return sorted(next((files for place in _places(folder, package) if (files := [*place.glob("*.yaml")])), []))


def _places(name: str | PurePath, package: Path) -> list[Path]:
    """Return where the package may hold a file or folder of that name: as it was installed, and as a checkout."""
    folder, *inner = Path(name).parts or ("",)
    if folder not in WHEEL_FOLDERS or ".." in inner:
        return []
    places = [package / WHEEL_FOLDERS[folder]]
    if (package.parent / "pyproject.toml").is_file():
        places.append(package.parent / folder)
    return [place.joinpath(*inner) for place in places]


def find_in_word(word: str, package: Path = PACKAGE) -> tuple[str, Path | None]:
    """Replace a packaged config file that a word of a command line names, as ``FILE`` or ``--option=FILE``.

    Args:
        word: One word of the command line.
        package: The folder of the installed package.

    Returns:
        The word to use instead, and the packaged file if the word names one. A file that the working directory has
        leaves the word unchanged.
    """
    option, equals, value = word.rpartition("=") if word.startswith("-") else ("", "", word)
    if not value.endswith(SUFFIXES) or (path := find_config(value, package)) == Path(value):
        return word, None
    return f"{option}{equals}{path}", path


def named_files(path: Path) -> Iterator[Path]:
    """Yield the files that a config names, relative to its own folder, and those that they name, each once.

    Raises:
        InputError: If one of the files is not YAML.
    """
    from velm_lightning.io.yaml_files import read_yaml  # here, because help does without YAML

    waiting, seen = [path], {path.resolve()}
    while waiting:
        current = waiting.pop(0)
        for value in _strings(read_yaml(current)):
            named = current.parent / value
            if value.endswith(SUFFIXES) and _exists(named) and named.resolve() not in seen:
                seen.add(named.resolve())
                waiting.append(named)
                yield named


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False

"""The user's own list of allowed modules, outside of any project; an entry holds for unchanged files only."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import invalidate_caches
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from typing import NamedTuple

from velm_lightning.errors import InputError
from velm_lightning.io.allow.allowlist import covers, how_to_allow, start_folder
from velm_lightning.io.atomic import make_folder, refusal, write_atomic

Files = tuple[tuple[str, str, int, int], ...]
"""Path, path within the package, size and time of each file."""
_IMPORTED = (*BYTECODE_SUFFIXES, *EXTENSION_SUFFIXES)
"""What follows the name of a module in other files than sources that Python imports, also if there is no source."""


class Allowed(NamedTuple):
    """A module that the user allows.

    Attributes:
        name: Its name, or that of a class or function in it.
        folder: The folder that holds the top module or package.
        sha256: Digest of its file, or of all Python files of the package.
    """

    name: str
    folder: str
    sha256: str


def list_file() -> Path:
    """Return the file of the list, in the user's configuration folder; a relative ``XDG_CONFIG_HOME`` is ignored."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (folder if folder.is_absolute() else Path.home() / ".config") / "velm" / "allowed.json"


def read_list() -> list[Allowed]:
    """Return the entries of the list.

    Raises:
        InputError: The file is damaged.
    """
    path = list_file()
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a regular file")
        entries = json.loads(path.read_bytes())
        return [Allowed(**{key: str(entry[key]) for key in Allowed._fields}) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):  # the latter if the home folder is /dev/null
        return []
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}): remove it, and allow your modules again") from error


@contextmanager
def _changing() -> Iterator[list[Allowed]]:
    """Yield the entries of the list, which are written when the block ends; one process at a time changes them."""
    from filelock import FileLock  # here, because every command reads the list

    path = list_file().resolve()  # a link, as of a folder of settings under version control, stays one
    make_folder(path.parent)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=10):
            yield (entries := read_list())
            write_atomic(path, json.dumps([entry._asdict() for entry in entries], indent=2) + "\n")
    except OSError as error:
        raise refusal(path, error) from error


def add(name: str) -> Allowed:
    """Allow a module as it is now, as found from the working directory; nothing of it is imported.

    Args:
        name: The module, or a class or function in it.

    Raises:
        InputError: There is no such module, it has no Python file or links to a folder, or the list cannot be written.
    """
    here = located(name, start_folder())
    if here is None:
        raise InputError(
            f"velm allow {name}: there is no Python module {name.partition('.')[0]} in {start_folder()} or among the "
            "installed packages: call it from the folder that holds the file"
        )
    with _changing() as entries:
        entries[:] = [entry for entry in entries if (entry.name, entry.folder) != here[:2]] + [here]
    return here


def remove(name: str) -> list[Allowed]:
    """Remove all entries of a name from the list, and return them."""
    with _changing() as entries:
        gone = [entry for entry in entries if entry.name == name]
        entries[:] = [entry for entry in entries if entry.name != name]
    return gone


def entry_for(path: str) -> Allowed | None:
    """Return the entry that allows a dotted path, that of the working directory first; None if there is none.

    Raises:
        InputError: The files have changed since they were allowed, or lie in several folders.
    """
    entries = [entry for entry in read_list() if covers([entry.name], path)]
    entries = [entry for entry in entries if entry.folder == str(start_folder().resolve())] or entries
    if not entries:
        return None
    name = entries[0].name
    if len({entry.folder for entry in entries}) > 1:
        folders = " and ".join(sorted({entry.folder for entry in entries}))
        raise InputError(f"{path}: you allowed {name} in {folders}: call velm from the folder that you mean")
    current = located(name, Path(entries[0].folder))
    if current not in entries:
        raise InputError(
            f"{path}: {name} in {entries[0].folder} is no longer as you allowed it, and was not imported: read "
            f"it, then run `velm allow {name}` there; {how_to_allow(name)} once"
        )
    return current


def located(name: str, folder: Path) -> Allowed | None:
    """Return where a module is and its digest, without importing it; None if there is none.

    Args:
        name: The dotted name of a module, or of a class or function in it.
        folder: The folder that is searched last.
    """
    with appended(folder):
        spec = find_top(name)
    files = _files(spec) if spec else ()
    if spec is None or not files:
        return None
    place = Path(spec.submodule_search_locations[0] if spec.submodule_search_locations else files[0][0])
    return Allowed(name=name, folder=str(place.parent.resolve()), sha256=_digest(files))


def find_top(name: str) -> ModuleSpec | None:
    """Return where Python finds the top package of a dotted name, without importing it; None if it does not."""
    specs = (finder.find_spec(name.partition(".")[0], None) for finder in sys.meta_path)
    return next(filter(None, specs), None)


@contextmanager
def appended(folder: Path | None) -> Iterator[None]:
    """Search ``folder`` last while a module is imported, so that no file in it hides a library.

    Compiled files next to its sources are not used: a ``.pyc`` of a stranger may hold other code than its source.
    """
    added = None if folder is None or str(folder) in sys.path else str(folder)
    compiled = sys.pycache_prefix
    if folder is not None:
        sys.pycache_prefix = _bytecode_folder()
    if added is not None:
        sys.path.append(added)
        invalidate_caches()
    try:
        yield
    finally:
        sys.pycache_prefix = compiled
        if added in sys.path:
            sys.path.remove(added)


def _bytecode_folder() -> str:
    """Return the user's folder for compiled files; for a user without a home, a place that cannot have any."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        folder = folder if folder.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return os.devnull
    return str(folder / "velm_lightning" / "bytecode")


def _files(spec: ModuleSpec) -> Files:
    """Return the files of code of a module or package, with their sizes and times."""
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    paths = [(path, path.relative_to(folder).as_posix()) for folder in folders for path in _code_in(folder)]
    if not folders and spec.origin and spec.has_location:
        paths = [(Path(spec.origin), Path(spec.origin).name)]
    stats = [(str(path), name, path.stat()) for path, name in sorted(paths) if path.is_file()]
    return tuple((path, name, stat.st_size, stat.st_mtime_ns) for path, name, stat in stats)


def _code_in(folder: Path) -> Iterator[Path]:
    """Yield the files of code below a folder.

    Raises:
        InputError: It holds a link to a folder, which Python's import would follow.
    """
    for place, folders, files in os.walk(folder):
        if link := next((name for name in folders if os.path.islink(os.path.join(place, name))), None):
            raise InputError(
                f"{os.path.join(place, link)} is a link to a folder, whose files could change unseen: copy the folder, "
                "or move the link out of the package"
            )
        yield from (Path(place, name) for name in files if name.endswith(".py") or name[name.find(".") :] in _IMPORTED)


@lru_cache(maxsize=32)
def _digest(files: Files) -> str:
    digest = hashlib.sha256()
    for path, name, size, _ in files:
        digest.update(f"{name}\0{size}\0".encode())
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()

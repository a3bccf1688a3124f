"""Reading text files of users, and the names in them; an error names the file, line, value and fix in one sentence."""

from __future__ import annotations

import gzip
import os
import re
import reprlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from errno import EINVAL
from functools import lru_cache
from io import BufferedReader
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from unicodedata import combining, normalize

from velm_lightning.errors import InputError, unreadable
from velm_lightning.io.paths import user_path

MAX_UNPACKED = 2**31
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # some readers end a line at U+0085, \v, \f or U+2028
_ACCENTS = re.compile(r"[^\x00-\u02ff]{31,}")  # candidates: most accents are at U+0300 and above
_LONE = re.compile(r"[\ud800-\udfff]")  # unpaired surrogates cannot be encoded as UTF-8
_QUOTE = reprlib.Repr()
_QUOTE.maxstring = _QUOTE.maxother = 80


def clean_text(text: str) -> str:
    r"""Return one line in Unicode form NFC; control characters (``\n \r \v \f``, U+2028 …) become spaces.

    Of more than 30 accents in a row the rest is dropped: sorting them takes time that is quadratic in their number
    (the limit is that of Unicode's Stream-Safe Text Format, UAX 15).
    """
    text = _LONE.sub("\ufffd", _CONTROL.sub(" ", text)).strip()
    return normalize("NFC", _ACCENTS.sub(_at_most_30, text))


def _at_most_30(run: re.Match[str]) -> str:
    """Return a run of characters beyond ASCII of which at most 30 in a row are accents."""
    kept, accents = [], 0
    for character in run[0]:
        accents = accents + 1 if combining(character) else 0
        kept += [character] if accents <= 30 else []
    return "".join(kept)


def show(value: object) -> str:
    """Return a short quotation of a value of any size or depth, for error messages."""
    return _QUOTE.repr(value)


def fault(error: InputError, problems: list[str] | None) -> None:
    """Raise the error, or append it to ``problems`` if that is a list, as in ``velm data check``."""
    if problems is None:
        raise error
    problems.append(str(error))


@contextmanager
def interpreting(path: Path, kind: str) -> Iterator[None]:
    """Report a file of another author whose values have other types than those of its format.

    Args:
        path: The file or folder.
        kind: What it should be, for the message.

    Raises:
        InputError: The block raises any error.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # such a file may hold values of any type in any place
        reason = show(f"{type(error).__name__}: {error}")
        raise InputError(f"{path}: cannot be read as {kind} ({reason}): was it made by another program?") from error


def inside(root: Path, name: object, follow: bool = False, absolute: bool = False) -> Path:
    """Return ``root / name``, which must be inside ``root``; Unicode forms of a name are equal.

    If there is no such file, blanks around the name are ignored, and the separators of Windows are those of a path.

    Args:
        root: The folder.
        name: The name, relative to the folder.
        follow: Whether links may lead out of the folder.
        absolute: Whether absolute names, and ``~`` for the home folder, are accepted also.

    Raises:
        InputError: The name is empty, too long or absolute, or leads out of the root.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name or _LONE.search(name) or _is_too_long(name):
        raise InputError(f"{show(name)} is not a file name: give one relative to {root}")
    if ("\\" in name or name != name.strip()) and not os.path.exists(root / name):  # as other programs write it
        name = name.strip() if PureWindowsPath(name).anchor else name.strip().replace("\\", "/")
    if name.startswith("~") and not (root / name).exists():
        name = str(user_path(name))
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        if not absolute:
            raise InputError(f"{show(name)} is an absolute file name: give one relative to {root}")
        return _in_any_form(Path(Path(name).anchor), str(Path(name).relative_to(Path(name).anchor)))
    path = _in_any_form(root, name)
    try:
        within = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # a cycle of links
        raise InputError(f"{path} cannot be followed ({error}): correct the link") from error
    is_link = ".." not in PurePosixPath(name).parts
    if not within and not (follow and is_link):
        how = " by a link" if is_link else ""
        fix = "copy the file into it, or name a folder that holds both"
        raise InputError(f"{show(name)} leads out of {root}{how}: {fix}")
    return path


def _is_too_long(name: str) -> bool:
    """Return whether a name is longer than any file system accepts, such as a text in a wrong column."""
    return len(name) > 4096 or any(len(part.encode()) > 255 for part in re.split(r"[/\\]", name))


def _in_any_form(root: Path, name: str) -> Path:
    """Return ``root / name`` in the form on the disk: composed (``é``) or not (``e`` and an accent)."""
    path = root / name
    if name.isascii() or path.exists():
        return path
    path = root
    for part in PurePosixPath(name).parts:
        exact = path / part
        path = exact if exact.exists() else path / _names(path, _changed(path)).get(normalize("NFC", part), part)
    return path


def _changed(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.is_dir() else 0


@lru_cache(maxsize=256)
def _names(folder: Path, changed: int) -> dict[str, str]:
    """Return the names in a folder by their NFC form; ``changed`` is part of the cache key."""
    return {normalize("NFC", path.name): path.name for path in folder.iterdir()} if changed else {}


def read_text(path: Path, max_unpacked: int = MAX_UNPACKED) -> str:
    """Return the text of a UTF-8 file, or a UTF-16 one with byte order mark; ``.gz`` is decompressed.

    Args:
        path: The file; pipes of the own process, such as ``/dev/stdin``, are allowed.
        max_unpacked: Highest number of bytes of a pipe, or of a ``.gz`` file when decompressed, by default 2 GiB.

    Raises:
        InputError: The file does not exist, is a pipe or device, is too large when decompressed, or has another
            encoding; the message names the line.
    """
    try:
        with open_file(path) as file, gzip.open(file) if path.suffix == ".gz" else nullcontext(file) as content:
            bounded = content is not file or not path.is_file()
            data = _bounded(content, path, max_unpacked) if bounded else content.read()
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zlib.error, MemoryError) as error:
        raise unreadable(path, error) from error
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in data and not wide:
        line = data[: data.index(0)].count(10) + 1
        raise InputError(f"{path}:{line}: holds a zero byte (UTF-16 without its mark?): save the file as UTF-8 text")
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"{path}:{data[: error.start].count(10) + 1}"
        if wide:
            raise InputError(f"{place}: is cut or damaged UTF-16: save the file as UTF-8") from error
        raise InputError(
            f"{place}: byte 0x{data[error.start]:02x} is not UTF-8 (Latin-1?): "
            f"save the file as UTF-8, e.g. `iconv -f latin1 -t utf-8 {path.name}`"
        ) from error


def open_file(path: Path) -> BufferedReader:
    """Open a regular file, or a pipe that the calling process was given, such as ``/dev/stdin``, for reading.

    Raises:
        OSError: It cannot be opened, or is another pipe or a device, from which reading may never end.
    """
    if path.exists() and not (path.is_file() or path.is_dir() or _GIVEN.fullmatch(os.path.normpath(path))):
        raise OSError(EINVAL, "it is a pipe or device, which may never end")
    return path.open("rb")


_GIVEN = re.compile(r"/dev/stdin|/(dev|proc/self)/fd/\d+")


def _bounded(file: Any, path: Path, most: int) -> bytes:
    data: bytes = file.read(most + 1)  # a pipe may be endless, and a file of a few megabytes can hold gigabytes
    if len(data) > most:
        raise InputError(f"{path}: holds more than {most:,} bytes when decompressed: decompress and split it")
    return data

"""Files that are there whole or not at all: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from velm_lightning.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once everything is in it; on any fault the old one stays.

    Raises:
        InputError: the file cannot be written; the message names it, the reason and the mend.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)  # after a power cut the name, too, is that of the new file
    except OSError as error:
        raise refusal(path, error) from error


def refusal(path: Path, error: OSError) -> InputError:
    """Return what a user is told of a file or folder that cannot be written."""
    kept = "; the one before is intact" if os.path.isfile(path) else ""
    return InputError(
        f"{path} cannot be written: {error.strerror or error}{kept}: free some space there, get the right to "
        "write, or name another folder"
    )


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        InputError: as ``replacing``.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(path, error) from error


def _flush_folder(folder: Path) -> None:
    with suppress(OSError):  # not every filesystem can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a reader sees the old one or the new one, never a part.

    Raises:
        InputError: as ``replacing``.
    """
    with replacing(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed left half-written below ``folder``."""
    for part in folder.glob("**/.*.part"):
        with suppress(OSError):
            part.unlink()

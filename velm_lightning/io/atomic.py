"""Atomic writing: a file or folder appears under its name only once it is complete and on the disk."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from velm_lightning.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` when the block ends; after an error the old file remains.

    Raises:
        InputError: The file cannot be written; the message names the file, the reason and the fix.
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
        _flush_folder(path.parent)  # so that the rename also survives a power failure
    except OSError as error:
        raise refusal(path, error) from error


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a reader sees either the old or the new content.

    Raises:
        InputError: The file cannot be written.
    """
    with replacing(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def write_output(path: Path, content: str) -> None:
    """Write a file that the user named: as ``write_atomic``, but where a link leads and into a pipe or device.

    Raises:
        InputError: The file cannot be written.
    """
    if path.is_file() or not path.exists():
        write_atomic(Path(os.path.realpath(path)) if path.is_symlink() else path, content)
        return
    try:
        path.write_text(content, "utf-8")  # ``/dev/stdout``, which must not be replaced
    except OSError as error:
        raise refusal(path, error) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends, unless another process has created it.

    Raises:
        OSError: The folder cannot be written; nothing remains of it.
    """
    part = Path(tempfile.mkdtemp(dir=path.parent))
    try:
        yield part
        part.chmod(0o755)
        if not path.exists():
            part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def refusal(path: Path, error: OSError) -> InputError:
    """Return the error that is raised if a file or folder cannot be written."""
    intact = "; the previous file is intact" if os.path.isfile(path) else ""
    return InputError(
        f"{path} cannot be written: {error.strerror or error}{intact}: free some space, check the permissions, "
        "or choose another folder"
    )


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        InputError: The folder cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(path, error) from error


def _flush_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems do not support it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_parts(folder: Path) -> None:
    """Remove the temporary files that killed processes left in ``folder`` and its subfolders."""
    _unlink(folder.glob("**/.*.part"))


def remove_parts_of(path: Path) -> None:
    """Remove the temporary files of ``path``, which no other process may be writing."""
    _unlink(path.parent.glob(f".{glob.escape(path.name)}.*.part"))


def _unlink(parts: Iterable[Path]) -> None:
    for part in parts:
        with suppress(OSError):
            part.unlink()

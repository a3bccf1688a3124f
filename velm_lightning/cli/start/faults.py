"""What is raised while the parts of a run are built becomes one sentence for the user."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from velm_lightning.errors import InputError

DEBUG = "VELM_DEBUG"
"""Environment variable; if it is set, commands print the traceback of a fault before its sentence."""
_FULL_OR_DENIED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EIO}
_NO_NAME = {errno.ENAMETOOLONG, errno.ELOOP}
_PACKAGE = Path(__file__).resolve().parents[2]
_MODULES = re.compile(r"No module named '(\w+)|Requirement '(\w[\w-]*)|[`'](\w[\w-]*)[`'].* is (?:not )?available")
_EXTRAS = {
    "peft": "lora",
    "gguf": "gguf",
    "accelerate": "gguf",
    "sklearn": "digits",
    "av": "video",
    "faiss": "faiss",
    "pillow_heif": "heic",
    "pyarrow": "parquet",
}


@contextmanager
def one_sentence() -> Iterator[None]:
    """Raise ``InputError`` of one sentence for any exception of the context, except those of the trainer's signals."""
    try:
        yield
    except Exception as error:
        raise InputError(sentence_of(error)) from error


@contextmanager
def named_by_system() -> Iterator[None]:
    """Raise ``InputError`` of one sentence if a file of the context cannot be read or written for the system's reasons.

    These are a full disk, missing rights and names that no file can have; other errors may be mistakes of a program.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_OR_DENIED | _NO_NAME:
            raise
        place = f"{error.filename}: " if error.filename else ""
        fix = "give another name" if error.errno in _NO_NAME else "free some space, or check the permissions"
        raise InputError(f"{place}{error.strerror}: {fix}") from error


def refused_by_lightning(error: BaseException) -> bool:
    """Return whether Lightning has refused what a command has given to it.

    An error of a user's module or callback needs its traceback, also if Lightning raises it, such as from ``self.log``;
    so does an error of the device.
    """
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in _frames(error)]
    callers = [module for module in modules if not module.startswith("lightning.")]
    if type(error) not in (ValueError, RuntimeError) or not callers:  # their subclasses are torch's and velm's
        return False
    return modules[-1].startswith("lightning.") and callers[-1].startswith("velm_lightning.")


def sentence_of(error: BaseException) -> str:
    """Return why a part could not be built: an input error's own words, a missing package, or class and reason."""
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, InputError):
            return str(cause)
    for cause in causes:
        if isinstance(cause, ImportError) and (name := _package(cause)):
            extra = f'"velm-lightning[{_EXTRAS[name]}]"' if name in _EXTRAS else name
            user = _class_of(cause)
            return f"{user or 'this config'} needs the package {name}, which is not installed: pip install {extra}"
    cause = causes[-1]
    reason = " ".join(str(cause).split()) or "no reason given"
    part = _class_of(cause) or "a part of the config"
    if "DefaultCPUAllocator" in reason or isinstance(cause, MemoryError):
        return f"{part} needs more memory than the system has: choose smaller sizes"
    place = _user_line(cause)
    return f"{part} cannot be built: {type(cause).__name__}: {reason:.500}{place} (set {DEBUG}=1 for the traceback)"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _package(error: ImportError) -> str | None:
    """Return the package that is missing, or None if the error says something else."""
    match = _MODULES.search(str(error))
    name = error.name.partition(".")[0] if error.name else next(filter(None, match.groups()), None) if match else None
    return None if name is None or _installed(name) else name


def _installed(name: str) -> bool:
    try:
        return find_spec(name.replace("-", "_")) is not None
    except (ImportError, ValueError):
        return False


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a traceback with their lines, the innermost last."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _class_of(error: BaseException) -> str:
    """Return the class whose constructor raised an exception; empty if none did."""
    built: list[Any] = [frame.f_locals.get("self") for frame, _ in _frames(error) if frame.f_code.co_name == "__init__"]
    names = [type(item).__name__ for item in built if item is not None]
    return names[-1] if names else ""


def _user_line(error: BaseException) -> str:
    """Return file and line of the innermost frame that belongs neither to this package nor to an installed one."""
    for frame, line in reversed(list(_frames(error))):
        file = Path(frame.f_code.co_filename)
        if file.is_file() and not file.is_relative_to(_PACKAGE) and "site-packages" not in file.parts:
            return f" in {file}:{line}" if "lib" not in file.parts else ""
    return ""

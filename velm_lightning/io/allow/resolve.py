"""From a dotted path in a file to a class: only what is allowed is imported, and only classes come out.

A class must be defined in an allowed package; one that is merely reached through it, as ``torch.os`` reaches ``os``, is
refused. Functions, modules and instances are refused unless they are allowed by their own full name.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from velm_lightning.errors import InputError
from velm_lightning.io.allow.allowlist import PACKAGES, covers, how_to_allow, named, start_folder
from velm_lightning.io.allow.user_list import appended, entry_for, find_top


class RefusedError(InputError):
    """A name that is not allowed."""


class MissingError(InputError):
    """A path in an allowed package that does not exist."""


def resolve(path: str, allow: Sequence[str] = ()) -> Any:
    """Return the class of a dotted path.

    Args:
        path: The path, from a file or a command line.
        allow: Names that are allowed in addition to those of ``io.allow.allowlist`` and of the user's list.

    Returns:
        The class; for a path that is allowed by its full name, any object.

    Raises:
        RefusedError: The path, or the package that defines its class, is not allowed; nothing of it was imported.
        MissingError: The path does not exist.
        InputError: Its module cannot be imported, or the user's list does not fit the files.
    """
    names = [*named(), *allow]
    folder: Path | None = None
    if "." not in path or not all(word.isidentifier() for word in path.split(".")):
        raise InputError(f"class_path {path!r} is not the path of a class, such as my_module.MyClass")
    if covers(names, path):
        folder = start_folder()
    elif not covers(PACKAGES, path) or entry_for(path):
        if (entry := entry_for(path)) is None:
            raise _foreign(path)
        folder, names = Path(entry.folder), [*names, entry.name]
    with appended(folder):
        value = _imported(path, by_name=path in names)
    if path in names or by_full_name(value, names):
        return value
    if not isinstance(value, type):
        raise RefusedError(f"{path} is {_kind(value)}, and only classes may be named: {how_to_allow(path)}")
    if not covers([*PACKAGES, *_packages(names)], defined := full_name(value)):
        raise RefusedError(f"{path} is {defined}, a class from outside the allowed packages: {how_to_allow(defined)}")
    return value


def full_name(value: Any) -> str:
    """Return where a class or function is defined, empty for other objects."""
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else ""


def by_full_name(value: Any, names: Sequence[str] | None = None) -> bool:
    """Return whether a class or function is allowed by its own full name, not only by that of its package."""
    return full_name(value) in (named() if names is None else names)


def _packages(names: Sequence[str]) -> set[str]:
    """Return allowed names and their top packages, whose code runs anyway; those of ``PACKAGES`` stay as they are."""
    known = {package.partition(".")[0] for package in PACKAGES}
    return {top for name in names if (top := name.partition(".")[0]) not in known} | {*names}


def _foreign(path: str) -> RefusedError:
    top = path.partition(".")[0]
    with appended(start_folder()):
        exists = find_top(top) is not None
    if not exists:
        return RefusedError(
            f"{path} does not exist: there is no module {top} in the working directory or among the installed packages"
        )
    if covers([package.partition(".")[0] for package in PACKAGES], path):
        ask = how_to_allow(path)
    else:
        ask = f"{how_to_allow(top)} (`velm allow {top}` remembers it)"
    return RefusedError(f"{path} is code outside the allowed packages, which was not imported: {ask}")


def _imported(path: str, by_name: bool) -> Any:
    """Import an object; unless it is allowed by name, its parent is no module that another module has imported."""
    module, _, name = path.rpartition(".")
    outer, _, inner = module.rpartition(".")
    parent = _module(module)
    if parent is None:
        parent = getattr(_module(outer) if outer else None, inner, None)
        if isinstance(parent, ModuleType) and not by_name:
            raise RefusedError(f"{path} reaches the module {parent.__name__} through {outer}: {how_to_allow(path)}")
    try:
        return getattr(parent, name)
    except AttributeError as error:
        raise MissingError(
            f"class_path {path!r} does not exist: {parent and error or f'no module {module}'}"
        ) from error


def _module(name: str) -> ModuleType | None:
    """Import a module, or return None if there is none of that name.

    Raises:
        InputError: Its own code fails.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and covers([error.name], name):
            return None
        reason: Exception = error
    except Exception as error:
        reason = error
    told = " ".join(f"{type(reason).__name__}: {reason}".split())
    raise InputError(f"module {name} cannot be imported ({told}): correct it") from reason


def _kind(value: Any) -> str:
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    return f"the function {full_name(value)}" if full_name(value) else f"a {type(value).__name__}"

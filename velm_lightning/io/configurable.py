"""Objects as plain data (class path and arguments), so that a checkpoint can rebuild its model safely."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError

_rebuilding: ContextVar[bool] = ContextVar("rebuilding", default=False)


def rebuilding() -> bool:
    """Return whether a part is being rebuilt from its config, so that its weights come from a checkpoint."""
    return _rebuilding.get()


class RecordsArguments:
    """Base class whose instances store the arguments of their constructor, for ``to_config``.

    Datasets and the data module derive from it, so that a run that is made from Python has a ``config.yaml``.
    """

    _init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Store the bound arguments, then let ``__init__`` run."""
        self = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:  # copy and pickle call __new__ without arguments; a wrong call fails in __init__
            object.__setattr__(self, "_init_args", {})
            return self
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:  # stores `**parts` as separate arguments
                arguments.update(arguments.pop(name))
            elif parameter.kind is parameter.VAR_POSITIONAL and not arguments[name]:  # e.g. nn.Module.__init__
                del arguments[name]
        object.__setattr__(self, "_init_args", arguments)
        return self


class Configurable(RecordsArguments):
    """Base class of the parts that a checkpoint may hold and rebuild.

    Encoders, fusions, tasks, merges and vocabularies derive from it, so that ``to_config`` works for objects from YAML
    files and from Python.
    """


def to_config(value: Any) -> Any:
    """Return ``value`` as numbers, strings, lists and ``{"class_path", "init_args"}`` mappings.

    Raises:
        InputError: A part cannot be rebuilt from plain data; the message names its class and the fix.
    """
    if isinstance(value, RecordsArguments):
        kind = type(value)
        arguments = {name: to_config(argument) for name, argument in value._init_args.items()}
        return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_config(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_config(item) for item in value]
    raise InputError(
        f"{type(value).__module__}.{type(value).__qualname__} cannot be written into a checkpoint: "
        "derive the class from velm_lightning.io.configurable.Configurable, or pass plain values"
    )


def build(plain: Any, allow: Sequence[str] = ()) -> Any:
    """Rebuild an object from the output of ``to_config``.

    Args:
        plain: The plain data.
        allow: Packages that may be imported in addition to ``velm_lightning``; imported modules are always allowed.

    Raises:
        InputError: A class is outside the allowed packages, does not exist, or is not a ``Configurable``.
    """
    token = _rebuilding.set(True)
    try:
        return _build(plain, allow)
    finally:
        _rebuilding.reset(token)


def _build(plain: Any, allow: Sequence[str]) -> Any:
    if isinstance(plain, list):
        return [_build(item, allow) for item in plain]
    if isinstance(plain, Mapping):
        if set(plain) == {"class_path", "init_args"}:
            arguments = {name: _build(item, allow) for name, item in plain["init_args"].items()}
            return find_class(plain["class_path"], allow)(**arguments)
        return {key: _build(item, allow) for key, item in plain.items()}
    return plain


def find_class(path: str, allow: Sequence[str] = ()) -> type[Configurable]:
    """Import the class with a dotted ``path``; other packages are refused before any of their code runs."""
    value = find(path, allow)
    if not (isinstance(value, type) and issubclass(value, Configurable)):
        raise InputError(f"class_path {path!r} is not a part that a checkpoint may hold")
    return value


def find(path: str, allow: Sequence[str] = ()) -> Any:
    """Import the object with a dotted ``path``; other packages are refused before any of their code runs."""
    module, _, name = path.rpartition(".")
    package = module.split(".")[0]
    if module not in sys.modules and package not in ("velm_lightning", *allow):
        raise InputError(f"class_path {path!r} is outside the allowed packages: allow {package!r} if you trust it")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"class_path {path!r} does not exist: {error}") from error

"""Objects as plain data (class path and arguments), so that a checkpoint can rebuild its model safely."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from velm_lightning.errors import InputError
from velm_lightning.io.allow.resolve import resolve
from velm_lightning.io.argument_types import check_arguments

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
        """Check and store the bound arguments, then let ``__init__`` run.

        Raises:
            InputError: An argument is of another type than ``__init__`` says.
        """
        self = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:  # copy and pickle call __new__ without arguments; a wrong call fails in __init__
            object.__setattr__(self, "_init_args", {})
            return self
        if not rebuilding():
            check_arguments(cls, _flat(signature, bound.arguments))
        bound.apply_defaults()
        arguments = _flat(signature, bound.arguments)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL and not arguments[name]:  # e.g. nn.Module.__init__
                del arguments[name]
        object.__setattr__(self, "_init_args", arguments)
        return self


def _flat(signature: inspect.Signature, bound: Mapping[str, Any]) -> dict[str, Any]:
    """Return bound arguments without ``self``, with those of ``**parts`` as separate arguments."""
    arguments = dict(list(bound.items())[1:])
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(name, {}))
    return arguments


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
        allow: Names of packages or modules that are allowed in addition; see ``find_class``.

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
    """Return the class with a dotted ``path``.

    Args:
        path: The path.
        allow: Names that are allowed in addition; a class whose module the program has imported is always allowed.

    Raises:
        InputError: The class is outside the allowed packages, of which nothing is imported, does not exist, or is not a
            ``Configurable``.
    """
    module, _, name = path.rpartition(".")
    value = getattr(sys.modules.get(module), name, None)
    if not _is_part(value):
        value = resolve(path, allow)
    if not _is_part(value):
        raise InputError(f"class_path {path!r} is not a part that a checkpoint may hold")
    return cast(type[Configurable], value)


def _is_part(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Configurable)

"""The types of arguments that are given from Python, checked against the annotations of the callable.

A config is checked by its parser. From Python a wrong type would end in the traceback of another library, far from the
call. What an annotation does not say in plain terms, such as a protocol or a callable, is accepted.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, wraps
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, Unpack, get_args, get_origin, get_type_hints, is_typeddict

from velm_lightning.errors import InputError, expect

_P = ParamSpec("_P")
_R = TypeVar("_R")
_PASSED_ON = inspect.Parameter.VAR_KEYWORD
_CHECKED = 100
"""Number of items of a sequence or mapping that are checked."""
_PLAIN: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "True or False"),
    int: ((Integral,), "a whole number"),
    float: ((Real,), "a number"),
    str: ((str, os.PathLike), "a text"),
    Path: ((str, os.PathLike), "a path"),
    NoneType: ((NoneType,), "None"),
}
"""What is accepted for a plain type, and its name in a message."""


def checked(**fixes: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return a decorator for public functions, by which arguments of a wrong type raise ``InputError``.

    Args:
        fixes: For an argument what to give, in place of a description of its annotation.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature, name = inspect.signature(function), function.__qualname__.removesuffix(".__init__")
        owner = name if "." in function.__qualname__ else f"velm.{name}"

        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with suppress(TypeError):  # a missing or unknown argument is refused by the call
                _check(function, owner, signature.bind(*args, **kwargs).arguments, fixes)
            return function(*args, **kwargs)

        return call

    return decorate


def check_arguments(kind: type, arguments: Mapping[str, Any]) -> None:
    """Raise unless the given arguments are of the types that the ``__init__`` of a class names.

    Those that it passes on by ``**`` are compared with the base class that names them; a ``checked`` one checks itself.

    Args:
        kind: The class.
        arguments: The arguments that were given, by name, also those that are passed on.

    Raises:
        InputError: An argument is of another type; the message names it, its value and what is expected.
    """
    left = dict(arguments)
    for init in (vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)):
        if not left or not inspect.isfunction(init) or hasattr(init, "__wrapped__"):
            return
        named = [name for name, each in inspect.signature(init).parameters.items() if each.kind is not _PASSED_ON]
        _check(init, kind.__name__, {name: left.pop(name) for name in named if name in left}, {})


def _check(function: Callable[..., Any], owner: str, arguments: Mapping[str, Any], fixes: Mapping[str, str]) -> None:
    for name, value, hint, default in _pairs(function, arguments):
        if value is default or fits(value, hint):
            continue
        fix = f"give {fixes.get(name, describe(hint))}"
        if _is_plain_hint(hint):
            shown = repr(value)
            shown = f"{shown[:57]}…" if len(shown) > 60 else shown
            one = f", {name}=[…] for one" if value is not None and fits([value], hint) else ""
            raise InputError(f"{owner}: {name}={shown} is of type {type(value).__name__}: {fix}{one}")
        classes = tuple(part for part in _parts(hint) if _is_class(part))
        expect(value, classes, f"{owner}: {name}", fix)


def _pairs(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield the name, value, annotation and default of each argument whose annotation can be read."""
    hints, parameters = _hints(function), inspect.signature(function).parameters
    for name, value in arguments.items():
        hint = hints.get(name, Any)
        if parameters[name].kind is _PASSED_ON:
            (kinds,) = get_args(hint) if get_origin(hint) is Unpack else (None,)
            named = _hints(kinds) if is_typeddict(kinds) else {}
            yield from ((key, item, named.get(key, Any), inspect.Parameter.empty) for key, item in value.items())
        elif parameters[name].kind is not inspect.Parameter.VAR_POSITIONAL:
            yield name, value, hint, parameters[name].default


@lru_cache(maxsize=512)
def _hints(owner: Any) -> dict[str, Any]:
    """Return the annotations of a function or ``TypedDict``, without those that name what is not imported."""
    try:
        return get_type_hints(owner)
    except Exception:  # an annotation is any expression of a user's file
        return {name: hint for name, hint in _one_by_one(owner)}


def _one_by_one(owner: Any) -> Iterator[tuple[str, Any]]:
    names = vars(sys.modules[owner.__module__])
    for name, text in owner.__annotations__.items():
        try:
            yield name, eval(text, names) if isinstance(text, str) else text  # as get_type_hints does
        except Exception:
            continue


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of the type of an annotation; what cannot be decided is accepted."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is None or hint in _PLAIN:
        return _is_plain(value, NoneType if hint is None else hint)
    if origin in (Union, UnionType):
        return any(fits(value, each) for each in args)
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in args)
    if is_typeddict(hint) or isinstance(origin, type) and issubclass(origin, Mapping):
        values = args[1] if len(args) == 2 else Any
        return isinstance(value, Mapping) and all(fits(each, values) for each in islice(value.values(), _CHECKED))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        items = args[0] if args else Any
        return _is_listed(value) and all(fits(each, items) for each in islice(iter(value), _CHECKED))
    return not _is_class(hint) or isinstance(value, hint)


def _is_plain(value: Any, kind: type) -> bool:
    if getattr(value, "shape", None) == () and kind in (bool, int, float):  # a number of NumPy or PyTorch
        return True
    if isinstance(value, bool) and kind in (int, float):
        return False
    return isinstance(value, _PLAIN[kind][0])


def _is_listed(value: Any) -> bool:
    """Return whether a value can be read as a sequence; a string is one text, not a sequence of letters."""
    if isinstance(value, str | bytes | Mapping) or getattr(value, "shape", None) == ():  # an array of one number
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _is_class(hint: Any) -> bool:
    """Return whether an annotation is a class of which instances can be told; ``Any`` and protocols are none."""
    if hint is Any or get_origin(hint) is not None or is_typeddict(hint) or getattr(hint, "_is_protocol", False):
        return False
    return isinstance(hint, type)


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_plain_hint(hint: Any) -> bool:
    """Return whether an annotation names no class of which an instance is expected."""
    return not any(_is_class(part) and part not in _PLAIN for part in _parts(hint))


def describe(hint: Any) -> str:
    """Return what to give for an annotation, in words."""
    names = list(dict.fromkeys(_name(part) for part in _parts(hint)))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _name(hint: Any) -> str:
    if hint is None or hint in _PLAIN:
        return _PLAIN[NoneType if hint is None else hint][1]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(repr(each) for each in args)
    if is_typeddict(hint) or isinstance(origin, type) and issubclass(origin, Mapping):
        return "a dictionary"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list, each {describe(args[0])}" if args and args[0] is not Any else "a list"
    return str(getattr(hint, "argument_hint", f"an object of {getattr(hint, '__name__', hint)}"))

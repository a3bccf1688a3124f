"""The gate between text and objects: whatever the config parser opens, imports or builds passes it.

jsonargparse imports what a config names before it compares it with the argument's type, and accepts functions.
``install`` replaces the functions of jsonargparse through which it opens a file, resolves a name and accepts a
callable; a version that lacks one of them is refused, and other ways to a name are denied by its own settings.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, set_dumper, set_loader, set_parsing_settings

from velm_lightning.errors import InputError
from velm_lightning.io.allow.allowlist import how_to_allow, require_network
from velm_lightning.io.allow.resolve import MissingError, by_full_name, full_name, resolve
from velm_lightning.io.yaml_files import Loader, dump_yaml, load_yaml, read_yaml_text

try:
    _common: Any = import_module("jsonargparse._common")
    _loaders_dumpers: Any = import_module("jsonargparse._loaders_dumpers")
    _paths: Any = import_module("jsonargparse._paths")
    _typehints: Any = import_module("jsonargparse._typehints")
    _util: Any = import_module("jsonargparse._util")
    _import_object, _callable_instances = _util.import_object, _typehints.callable_instances
    _read_text, _yaml_load = _paths.Path.read_text, _loaders_dumpers.yaml_load
    _open_files, _ = _util.config_load_stack, _common.ImportDenied
    _loaders_dumpers.get_yaml_default_loader()
except (ImportError, AttributeError) as error:
    raise InputError(f"this version of jsonargparse cannot be used safely ({error}): install 4.53") from error

_ADDRESS = re.compile(r"\s*(?!file://)[A-Za-z][\w+.-]*(://.+|::\S+|::.*://.+)", re.DOTALL)
_MARK = re.compile(r"\(refusal (\d+)\)")
_refusals: list[InputError] = []
_refused_files: dict[str, InputError] = {}  # jsonargparse takes the name of such a file for a class path next
_depth = 0  # parsers at work, one inside the other


class _DeniedError(_common.ImportDenied, TypeError):
    """An error that jsonargparse reports in any place; only its text arrives at the parser, in ``outermost``."""

    def __init__(self, cause: InputError, file: str) -> None:
        super().__init__(f"{cause} (refusal {len(_refusals)})")
        _refusals.append(cause)
        _refused_files.setdefault(file, cause)


class _FileText(str):
    """The text of a file that jsonargparse has opened."""

    path: str


def install() -> None:
    """Put the gate into jsonargparse, for all parsers of this process."""
    set_parsing_settings(import_path_denylist=["*"], instantiate_subclass_spec_in_any=False)
    # Lightning lets a config name others by their addresses; jsonargparse would open one to see whether it exists.
    set_parsing_settings(config_read_mode_urls_enabled=False, config_read_mode_fsspec_enabled=False)
    set_loader("yaml", _load, (yaml.YAMLError,))
    set_dumper("yaml", dump_yaml)
    _loaders_dumpers.yaml_default_loader = Loader
    _paths.Path.read_text = _read
    _typehints.callable_instances = _is_callable
    for name, module in list(sys.modules.items()):
        if name.startswith("jsonargparse") and vars(module).get("import_object") is _import_object:
            vars(module)["import_object"] = _resolve


@contextmanager
def outermost() -> Iterator[None]:
    """Raise the refusal itself from the outermost parser; inner ones pass on its text.

    Raises:
        InputError: A file or a name was refused.
    """
    global _depth
    if not _depth:
        _refusals.clear()
        _refused_files.clear()
    _depth += 1
    try:
        yield
    except InputError as error:
        if _depth > 1 or (refusal := _refusal(str(error))) is None:
            raise
        raise refusal from error
    finally:
        _depth -= 1


def is_refusal(message: str) -> bool:
    """Return whether an error message of jsonargparse comes from a refusal."""
    return bool(_MARK.search(message))


def _refusal(message: str) -> InputError | None:
    if number := _MARK.search(message):
        return _refusals[int(number[1])]
    loops = (refusal for file, refusal in _refused_files.items() if f"{file} -> {file}" in message)
    return next(loops, None)  # jsonargparse has opened a refused file a second time


def check_addresses(value: Any, key: str = "") -> None:
    """Refuse values that are network addresses, unless the command line allows the network.

    Args:
        value: A parsed config.
        key: Its key.

    Raises:
        InputError: A value is an address, such as ``https://…``, ``s3://…`` or ``registry`` as a checkpoint.
    """
    if isinstance(value, Namespace | dict):
        for name, item in (vars(value) if isinstance(value, Namespace) else value).items():
            check_addresses(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple | set):
        for item in value:
            check_addresses(item, key)
    elif isinstance(value, str | Path) and (
        _ADDRESS.fullmatch(str(value)) or (key.endswith("ckpt_path") and str(value).startswith("registry"))
    ):
        require_network(f"{key}: {value} is a network address")


def _resolve(name: Any, check_path: bool = True) -> Any:
    """Replace ``import_object``: the class of a path in a config or on the command line; names in code pass."""
    if not check_path or not isinstance(name, str) or "." not in name:
        return _import_object(name, check_path=check_path)
    try:
        if name in _refused_files:
            raise _refused_files[name]
        return resolve(name)
    except MissingError as error:  # the parser has better hints
        raise ImportError(str(error)) from error
    except InputError as error:
        raise _denied(error) from error


def _is_callable(kind: type) -> bool:
    """Replace ``callable_instances``: instances are accepted as callables only if their class is allowed by name."""
    accepted = bool(_callable_instances(kind))
    if accepted and not getattr(kind, "_is_protocol", False) and not by_full_name(kind):
        name = full_name(kind)
        raise _denied(InputError(f"{name} is given as a function: {how_to_allow(name)}"))
    return accepted


def _read(path: Any) -> str:
    """Replace ``Path.read_text``: files are read as UTF-8 within the limits of ``io.yaml_files``."""
    if path._std_io or path.is_url or path.is_fsspec:
        return str(_read_text(path))
    try:
        text = _FileText(read_yaml_text(Path(path.absolute), str(path)))
    except InputError as error:
        raise _DeniedError(error, str(path)) from error
    text.path = str(path)
    return text


def _load(text: str) -> Any:
    """Replace the YAML loader, whose errors in a file become one sentence with its line."""
    if isinstance(text, _FileText):
        try:
            load_yaml(str(text), text.path)
        except InputError as error:
            raise _DeniedError(error, text.path) from error
    return _yaml_load(str(text))


def _denied(error: InputError) -> _DeniedError:
    """Return an error that starts with the name of the config file that is being read, if there is one."""
    file = next((name for _, name in reversed(_open_files.get())), "")
    known = not file or error in _refused_files.values()
    return _DeniedError(error if known else InputError(f"{file}: {error}"), file)

"""The names of code that text may refer to, and whether text may open network addresses.

Configs, run folders and checkpoints name classes. Those of ``PACKAGES`` are allowed; others need the user's word: the
option ``--allow NAME`` of any command, the environment variable ``VELM_ALLOW``, or the list of ``velm allow NAME``. No
file of a project can give it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from velm_lightning.errors import InputError

PACKAGES = ("velm_lightning", "lightning", "torch.nn", "torch.optim", "torchvision.transforms")
"""Packages whose classes need no word: parts of models, data and trainers, none of which downloads anything."""
NAMES, NETWORK = "VELM_ALLOW", "VELM_ALLOW_NETWORK"
"""Environment variables, which processes that a command starts inherit."""
_command: list[str] = []
_folders: list[Path] = []


@contextmanager
def permissions(words: Sequence[str]) -> Iterator[list[str]]:
    """Take ``--allow NAME`` and ``--allow-network`` out of a command line; both hold until the block ends.

    Args:
        words: The command and its arguments.

    Yields:
        The other words.

    Raises:
        InputError: ``--allow`` has no name.
    """
    rest, names, network = _split(words)
    before = {name: os.environ.get(name) for name in (NAMES, NETWORK)}
    started, _command[:] = list(_command), words
    _folders.append(Path.cwd())
    os.environ[NAMES] = ",".join([*named(), *names])
    os.environ[NETWORK] = "1" if network or before[NETWORK] == "1" else "0"
    try:
        yield rest
    finally:
        _command[:] = started
        _folders.pop()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _split(words: Sequence[str]) -> tuple[list[str], list[str], bool]:
    rest, names, waiting = [], [], iter(words)
    for word in waiting:
        option, equals, value = word.partition("=")
        if option == "--allow":
            value = value if equals else next(waiting, "")
            if not value or value.startswith("-"):
                raise InputError("--allow needs the name of a module, as in `--allow my_fusion`")
            names += [name.strip() for name in value.split(",") if name.strip()]
        elif word not in ("--allow-network", "--allow_network"):
            rest.append(word)
    return rest, names, any(word in ("--allow-network", "--allow_network") for word in words)


def named() -> list[str]:
    """Return the names that the command line or the environment allows."""
    return [name for name in os.environ.get(NAMES, "").split(",") if name]


def start_folder() -> Path:
    """Return the folder from which the command was called; the parser works in the folder of each config."""
    return _folders[-1] if _folders else Path.cwd()


def covers(names: Iterable[str], path: str) -> bool:
    """Return whether a dotted path is one of ``names``, or lies in a package or module of that name."""
    return any(path == name or path.startswith(f"{name}.") for name in names)


def network_allowed() -> bool:
    """Return whether network addresses may be opened: always from Python, and with ``--allow-network`` on a command."""
    return os.environ.get(NETWORK, "1") != "0"


def require_network(what: str) -> None:
    """Refuse ``what``, which needs the network, unless it is allowed.

    Raises:
        InputError: The command line does not allow it.
    """
    if not network_allowed():
        raise InputError(f"{what}, and nothing was opened: if you trust it, {_how('--allow-network', NETWORK, '1')}")


def how_to_allow(name: str) -> str:
    """Return a phrase with the complete command, quoted for a shell, or the variable that allows a name."""
    return f"if you trust it, {_how(f'--allow={name}', NAMES, name)}"


def _how(option: str, variable: str, value: str) -> str:
    if _command:
        return f"run `{shlex.join(['velm', *_command, *option.split('=', 1)])}`"
    return f"set the environment variable {variable}={value}"

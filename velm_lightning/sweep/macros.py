"""The macros of the commands of W&B sweeps, replaced as by ``wandb agent``."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError

_VARIABLE = re.compile(r"\$\{envvar:([A-Za-z0-9_]*)\}")


def expanded(command: Sequence[str], config: Mapping[str, Any], args_file: Path, program: str) -> list[str]:
    """Return a command with its macros replaced.

    Args:
        command: The words of the command.
        config: The values of a trial.
        args_file: The file that holds the values as JSON.
        program: The value of ``${program}``.

    Raises:
        InputError: A macro or an environment variable does not exist.
    """
    args = [f"{key}={value}" for key, value in config.items()]
    macros: dict[str, Sequence[str]] = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": [sys.executable, "-u"],
        "${program}": [program],
        "${args}": [f"--{arg}" for arg in args],
        "${args_no_hyphens}": args,
        "${args_no_equals}": [word for key, value in config.items() for word in (f"--{key}", str(value))],
        "${args_no_boolean_flags}": [flag for key, value in config.items() for flag in _flag(key, value)],
        "${args_append_hydra}": [f"+{arg}" for arg in args],
        "${args_override_hydra}": [f"++{arg}" for arg in args],
        "${args_json}": [json.dumps(config)],
        "${args_json_file}": [str(args_file)],
    }
    words: list[str] = []
    for word in command:
        if word in macros:
            words += macros[word]
            continue
        written = _VARIABLE.sub(_variable, word)
        if unknown := re.search(r"\$\{[^}]*\}", _VARIABLE.sub("", word)):
            names = ", ".join([*macros, "${envvar:NAME}"])
            raise InputError(f"command: {unknown[0]} is not a macro that can stand in {word!r}; the macros are {names}")
        words.append(written)
    return words


def _flag(key: str, value: Any) -> list[str]:
    """Return the option of a value; a boolean is an option without a value, or none."""
    if isinstance(value, bool):
        return [f"--{key}"] if value else []
    return [f"--{key}={value}"]


def _variable(match: re.Match[str]) -> str:
    if match[1] not in os.environ:
        raise InputError(f"command: {match[0]}: the environment variable {match[1]} is not set")
    return os.environ[match[1]]

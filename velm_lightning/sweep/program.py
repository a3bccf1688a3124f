"""What the trials of a sweep file run: the commands of ``velm``, or a program that the user allows."""

from __future__ import annotations

from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.io.allowlist import how_to_allow, named
from velm_lightning.sweep.spec import Spec

_TRIALS = ("fit", "validate", "test", "predict")


def check_program(spec: Spec) -> None:
    """Check a sweep before its first trial: a file from elsewhere runs no program and allows no code by itself.

    Raises:
        InputError: The command runs something else than ``velm fit``, ``validate``, ``test`` or ``predict`` and is not
            allowed by the name of its program; or command or parameters hold ``--allow``.
    """
    keys = [parameter.key for parameter in (*spec.parameters, *spec.tune)]
    words = spec.words(dict.fromkeys(keys, ""), Path())  # with its macros replaced
    options = [*spec.command, *words, *(f"--{key.lstrip('-')}" for key in keys)]
    if given := next((word for word in options if word.startswith("--allow")), None):
        raise InputError(f"{spec.name}: {given} has no effect in a sweep file: remove it, and give it to `velm sweep`")
    program = _program(spec)
    if program not in ("velm", *named()):
        raise InputError(
            f"{spec.name}: command: its trials run {program!r} instead of `velm fit`, and nothing was run: "
            f"{how_to_allow(program)}"
        )


def _program(spec: Spec) -> str:
    """Return ``velm`` for a command that trains or evaluates, else the first word that is no interpreter."""
    words = [spec.program if word == "${program}" else word for word in spec.command if word != "${env}"]
    if words[:3] == ["${interpreter}", "-m", "velm_lightning"]:
        words = ["velm", *words[3:]]
    elif words[:1] == ["${interpreter}"]:
        return words[1] if len(words) > 1 else "python"
    if words[:1] != ["velm"]:
        return words[0] if words else ""
    return "velm" if words[1:2] and words[1] in _TRIALS else " ".join([*words, ""][:2])

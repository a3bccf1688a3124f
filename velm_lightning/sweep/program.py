"""The program that the trials of a sweep file run: the commands of ``velm``, or a program that the user allows."""

from __future__ import annotations

from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.io.allow.allowlist import how_to_allow, named
from velm_lightning.sweep.spec import Spec

_OTHER_FORMS = ("${args_no_hyphens}", "${args_append_hydra}", "${args_override_hydra}")
_FLAGS = "${args_no_boolean_flags}"  # booleans as options without a value
_NONE_AS_TEXT = ("${args}", "${args_no_equals}", _FLAGS)
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
    if program == "velm":
        _check_macros(spec)


def _check_macros(spec: Spec) -> None:
    """Raise if a macro writes settings in a form that ``velm`` does not read."""
    values = [value for parameter in (*spec.parameters, *spec.tune) for value in parameter.values]
    refused = {*_OTHER_FORMS}
    refused |= {_FLAGS} if any(isinstance(value, bool) for value in values) else set()
    refused |= {*_NONE_AS_TEXT} if None in values else set()
    if wrong := next((word for word in spec.command if word in refused), None):
        raise InputError(
            f"{spec.name}: command: velm does not read the form in which {wrong} writes these settings: use --config "
            "${args_json_file}"
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

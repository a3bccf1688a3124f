"""Reads and checks a sweep file in the format of W&B."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError, at_least
from velm_lightning.io.paths import is_folder_name
from velm_lightning.io.yaml_files import read_yaml
from velm_lightning.sweep.parameter import Parameter, parameters_of
from velm_lightning.sweep.spec import Early, Match, Spec

_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_KEYS = {"name", "description", "program", "command", "method", "metric", "parameters", "run_cap", "early_terminate"}
_KEYS |= {"project", "entity", "controller", "imageuri", "job"}  # used by W&B, ignored here
_KEYS |= {"match", "tune"}  # not of W&B
_SCORE = {"name": "val/score", "goal": "maximize"}


def read_spec(path: Path) -> Spec:
    """Read a sweep file.

    Raises:
        InputError: If the file is missing or part of it cannot be used; the message names the key and the fix.
    """
    content = read_yaml(path)
    try:
        return _spec(content, path.stem)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _spec(content: Any, name: str) -> Spec:
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise InputError("has no `parameters`; write the file in the format of W&B sweeps")
    unknown = sorted(set(content) - _KEYS)
    if unknown:
        raise InputError(f"{unknown[0]}: is not a key of a sweep file; the keys are {', '.join(sorted(_KEYS))}")
    method, metric = _method(content.get("method")), _metric(content.get("metric", _SCORE))
    parameters = tuple(parameters_of(content["parameters"]))
    if method == "grid":
        _check_grid(parameters)
    cap = _cap(content.get("run_cap"), method)
    match, tune = _match(content.get("match")), tuple(parameters_of(content.get("tune") or {}, ""))
    if (match or tune) and method != "grid":
        raise InputError(f"method: match and tune are for a grid of arms, got {method}: write `method: grid`")
    _check_grid(tune)
    return Spec(
        name=_folder_name(content.get("name", name)),
        method=method,
        metric=metric["name"],
        maximize=metric.get("goal", "minimize") == "maximize",
        parameters=parameters,
        cap=cap,
        early=_early(content.get("early_terminate")),
        command=tuple(str(word) for word in content.get("command", _COMMAND)),
        program=str(content.get("program", "velm")),
        match=match,
        tune=tune,
    )


def _method(method: Any) -> str:
    if method not in ("grid", "random", "bayes"):
        raise InputError(f"method: {method!r} is not one of grid, random, bayes")
    return str(method)


def _metric(metric: Any) -> Mapping[str, Any]:
    if (
        not isinstance(metric, dict)
        or "name" not in metric
        or metric.get("goal", "minimize") not in ("minimize", "maximize")
    ):
        raise InputError(f"metric: {metric!r} needs a `name`, and a `goal` of minimize or maximize")
    return metric


def _check_grid(parameters: Iterable[Parameter]) -> None:
    """Raise ``InputError`` if a parameter has no list of values for a grid."""
    for parameter in parameters:
        parameter.grid()


def _cap(cap: Any, method: str) -> int | None:
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        raise InputError(f"run_cap must be a whole number of at least 1, got {cap!r}")
    if cap is None and method != "grid":
        raise InputError(f"run_cap: is missing, and a {method} sweep would never end; give the number of trials")
    return cap


def _folder_name(name: Any) -> str:
    """Return the name of a sweep, which is that of its folder, if it names one folder."""
    text = str(name)
    if not is_folder_name(text) or not text.isprintable() or "\\" in text:
        raise InputError(f"name is {text!r}: give one folder name, without / and control characters")
    return text


def _match(settings: Any) -> Match | None:
    if settings is None:
        return None
    by = settings.get("by", "parameters") if isinstance(settings, dict) else None
    if by not in ("parameters", "flops") or set(settings) - {"by", "tolerance"}:
        raise InputError(f"match: {settings!r} needs `by: parameters` or `by: flops`, and optionally a `tolerance`")
    return Match(by, str(settings.get("tolerance", "2%")))


def _early(settings: Any) -> Early | None:
    if settings is None:
        return None
    if not isinstance(settings, dict) or settings.get("type") != "hyperband":
        raise InputError(f"early_terminate: {settings!r} must be of `type: hyperband`")
    given = {name: settings[name] for name in ("eta", "min_iter", "max_iter", "s") if name in settings}
    for name, value in given.items():
        if type(value) not in (int, float) or value % 1 != 0:  # also not a number
            raise InputError(f"early_terminate.{name} must be a whole number, got {value!r}")
        at_least({"eta": 2, "s": 0}.get(name, 1), "early_terminate", **{name: value})
    numbers = {name: int(value) for name, value in given.items()}
    factor = numbers.get("eta", 3)
    if "min_iter" in numbers:
        return Early(numbers["min_iter"], factor)
    if "max_iter" not in numbers:
        raise InputError("early_terminate: has no evaluation to start at; give `min_iter`, or `max_iter` and `s`")
    most = numbers["max_iter"]
    return Early(max(1, most // factor ** min(numbers.get("s", 1), most.bit_length())), factor)

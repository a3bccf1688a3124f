"""Read and check a sweep file in the format of W&B: parameters, search method, metric and command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.errors import InputError
from velm_lightning.io.yaml_files import read_yaml
from velm_lightning.sweep.parameter import Parameter, parameters_of

Config = dict[str, Any]
_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_KEYS = {"name", "description", "program", "command", "method", "metric", "parameters", "run_cap", "early_terminate"}
_KEYS |= {"project", "entity", "controller", "imageuri", "job"}  # W&B's own, of no meaning here


class Early(NamedTuple):
    """Early termination of bad trials by successive halving (Jamieson & Talwalkar 2016).

    Attributes:
        first: number of evaluations before the first decision.
        factor: one of ``factor`` trials continues at each decision.
    """

    first: int
    factor: int


@dataclass(frozen=True)
class Spec:
    """A sweep.

    Attributes:
        name: the name of the sweep.
        method: ``grid``, ``random`` or ``bayes``.
        metric: the figure that is optimised.
        maximize: whether higher values of the metric are better.
        parameters: the parameters, searched and fixed.
        cap: number of trials; None for all points of a grid.
        early: early termination; None means that no trial is stopped.
        command: the words of the command, with W&B's macros.
        program: the value of ``${program}``.
    """

    name: str
    method: str
    metric: str
    maximize: bool
    parameters: tuple[Parameter, ...]
    cap: int | None
    early: Early | None
    command: tuple[str, ...]
    program: str

    def points(self) -> Iterator[Config]:
        """Yield every point of a grid, the last parameter fastest, up to ``cap``."""
        grids = [parameter.grid() for parameter in self.parameters]
        for number, point in enumerate(product(*grids)):
            if self.cap is not None and number >= self.cap:
                return
            yield dict(zip((parameter.key for parameter in self.parameters), point, strict=True))

    def split(self, key: str) -> list[Spec]:
        """Return one sweep per value of a parameter, each with the whole budget.

        Args:
            key: the key of the parameter, or its beginning: ``model`` means ``model.class_path``.

        Raises:
            InputError: no parameter, or several, are meant; or it has no values to choose from.
        """
        found = [one for one in self.parameters if one.key == key] or [
            one for one in self.parameters if one.key in (f"{key}.class_path", f"{key}.value")
        ]
        if len(found) != 1 or len(found[0].values) < 2:
            raise InputError(f"--per {key}: name a parameter of the sweep that has several `values`")
        return [
            replace(
                self,
                name=f"{self.name}-{str(value).rpartition('.')[2].lower()}",
                parameters=tuple(
                    replace(one, kind="constant", values=(value,), weights=()) if one is found[0] else one
                    for one in self.parameters
                ),
            )
            for value in found[0].values
        ]

    def words(self, config: Config, args_file: Path) -> list[str]:
        """Return the command of a trial, with macros replaced as by ``wandb agent``."""
        args = [f"{key}={value}" for key, value in config.items()]
        macros: dict[str, Sequence[str]] = {
            "${env}": ["/usr/bin/env"],
            "${interpreter}": [sys.executable, "-u"],
            "${program}": [self.program],
            "${args}": [f"--{arg}" for arg in args],
            "${args_no_hyphens}": args,
            "${args_json}": [json.dumps(config)],
            "${args_json_file}": [str(args_file)],
        }
        words = [part for word in self.command for part in macros.get(word, [_environment(word)])]
        if words and words[0] == "/usr/bin/env":
            words = words[1:]
        return [sys.executable, "-m", "velm_lightning", *words[1:]] if words[0] == "velm" else words


def _environment(word: str) -> str:
    name = word.removeprefix("${envvar:").removesuffix("}")
    return os.environ.get(name, "") if word.startswith("${envvar:") else word


def read_spec(path: Path) -> Spec:
    """Read a sweep file.

    Raises:
        InputError: the file is missing, or a part of it cannot be used; the message names the key and the fix.
    """
    found = read_yaml(path)
    try:
        return _spec(found, path.stem)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _spec(found: Any, name: str) -> Spec:
    if not isinstance(found, dict) or not isinstance(found.get("parameters"), dict):
        raise InputError("has no `parameters`: write it in the format of W&B sweeps")
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        raise InputError(f"{unknown[0]}: is no part of a sweep file: it holds {', '.join(sorted(_KEYS))}")
    method = found.get("method")
    if method not in ("grid", "random", "bayes"):
        raise InputError(f"method: {method!r} is not one of grid, random, bayes")
    metric = found.get("metric", {"name": "val/score", "goal": "maximize"})
    if not isinstance(metric, dict) or "name" not in metric or metric.get("goal", "minimize") not in _GOALS:
        raise InputError(f"metric: {metric!r} needs a name, and a goal of minimize or maximize")
    parameters = tuple(parameters_of(found["parameters"]))
    if method == "grid":
        for parameter in parameters:
            parameter.grid()
    cap = found.get("run_cap")
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        raise InputError(f"run_cap: {cap!r} must be a whole number from 1")
    if cap is None and method != "grid":
        raise InputError(f"run_cap: a {method} sweep without one would never end: say how many trials there are")
    command = tuple(str(word) for word in found.get("command", _COMMAND))
    goal = metric.get("goal", "minimize") == "maximize"
    early, program = _early(found.get("early_terminate")), str(found.get("program", "velm"))
    return Spec(str(found.get("name", name)), method, metric["name"], goal, parameters, cap, early, command, program)


_GOALS = ("minimize", "maximize")


def _early(found: Any) -> Early | None:
    if found is None:
        return None
    if not isinstance(found, dict) or found.get("type") != "hyperband":
        raise InputError(f"early_terminate: {found!r} is not of type hyperband")
    factor = int(found.get("eta", 3))
    if factor < 2:
        raise InputError(f"early_terminate.eta: {factor} must be at least 2")
    if "min_iter" in found:
        return Early(max(1, int(found["min_iter"])), factor)
    if "max_iter" not in found:
        raise InputError("early_terminate: give min_iter, or max_iter and s")
    return Early(max(1, int(found["max_iter"] / factor ** int(found.get("s", 1)))), factor)

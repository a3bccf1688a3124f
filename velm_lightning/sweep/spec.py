"""A sweep file in W&B's own format, read and checked: what is searched, how, and by which command."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import yaml

from velm_lightning.errors import InputError

Config = dict[str, Any]
Numbers = dict[str, float]
_UNIT_EDGE = 1e-9
_INSIDE = {"int_uniform", "uniform", "q_uniform"}
_EXPONENTS = {"log_uniform", "q_log_uniform", "inv_log_uniform"}
_LOGARITHMIC = {"log_uniform_values", "q_log_uniform_values", "inv_log_uniform_values"}
_NORMAL = {"normal", "q_normal", "log_normal", "q_log_normal"}
DISTRIBUTIONS = (
    _INSIDE | _EXPONENTS | _LOGARITHMIC | _NORMAL | {"constant", "categorical", "categorical_w_probabilities"}
)
_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_KEYS = {"name", "description", "program", "command", "method", "metric", "parameters", "run_cap", "early_terminate"}
_KEYS |= {"project", "entity", "controller", "imageuri", "job"}  # W&B's own, of no meaning here


@dataclass(frozen=True)
class Parameter:
    """One value that is searched, or fixed.

    Attributes:
        key: its dotted key.
        kind: one of ``DISTRIBUTIONS``.
        values: what can be chosen, where it is a choice.
        weights: the probabilities of the choices, if they are not alike.
        low: smallest value, or for ``log_uniform`` its exponent.
        high: the largest.
        mu: the mean of a normal distribution.
        sigma: its standard deviation.
        q: values are rounded to multiples of it; 0 leaves them.
    """

    key: str
    kind: str
    values: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 1.0
    mu: float = 0.0
    sigma: float = 1.0
    q: float = 0.0

    def grid(self) -> tuple[Any, ...]:
        """Return every value, in order.

        Raises:
            InputError: there are infinitely many.
        """
        if self.values:
            return self.values
        step = 1 if self.kind == "int_uniform" else self.q
        if self.kind not in ("int_uniform", "q_uniform") or not step:
            raise InputError(f"parameters.{self.key}: a grid needs `values`, not a {self.kind} distribution")
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return tuple(self._rounded(self.low + place * step) for place in range(count))

    def at(self, share: float) -> Any:
        """Return the value below which ``share`` of the distribution lies, 0…1: its inverse CDF."""
        share = min(1 - _UNIT_EDGE, max(_UNIT_EDGE, share))
        if self.kind == "categorical_w_probabilities":
            total, reached = sum(self.weights), 0.0
            for value, weight in zip(self.values, self.weights, strict=True):
                reached += weight / total
                if share < reached:
                    return value
            return self.values[-1]
        value = NormalDist(self.mu, self.sigma).inv_cdf(share)
        return self._rounded(math.exp(value) if "log" in self.kind else value)

    def bounds(self) -> tuple[float, float, bool]:
        """Return the smallest and the largest value, and whether the search is by their logarithms."""
        if self.kind in _EXPONENTS:
            low, high = (-self.high, -self.low) if self.kind.startswith("inv_") else (self.low, self.high)
            return math.exp(low), math.exp(high), True
        return self.low, self.high, self.kind in _LOGARITHMIC

    def rounded(self, value: float) -> Any:
        """Return a number between the bounds as the command gets it."""
        return self._rounded(value)

    def _rounded(self, value: float) -> Any:
        if self.kind == "int_uniform":
            return round(value)
        if not self.q:
            return value
        steps = round(value / self.q) * self.q
        return int(steps) if float(self.q).is_integer() else round(steps, 12)


class Early(NamedTuple):
    """When bad trials are stopped: successive halving (Jamieson & Talwalkar 2016).

    Attributes:
        first: evaluations before the first decision.
        factor: one in so many goes on at each decision.
    """

    first: int
    factor: int


@dataclass(frozen=True)
class Spec:
    """A sweep.

    Attributes:
        name: its name.
        method: ``grid``, ``random`` or ``bayes``.
        metric: the figure that is optimised.
        maximize: whether more of it is better.
        parameters: what is searched.
        cap: number of trials; none for a grid is all of it.
        early: early termination, if any.
        command: the words to start, with W&B's macros.
        program: what ``${program}`` stands for.
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
        """Return one sweep for each value of a parameter, each with the whole budget.

        Args:
            key: the parameter's key, or its beginning: ``model`` is ``model.class_path``.

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
        """Return the command of a trial, its macros filled in as ``wandb agent`` does."""
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
        InputError: it is missing, or a part of it cannot be used; the message names the key and the mend.
    """
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): name a sweep file") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
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
    parameters = tuple(_parameters(found["parameters"]))
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


def _parameters(found: Mapping[str, Any], prefix: str = "") -> Iterator[Parameter]:
    for name, about in found.items():
        key = f"{prefix}{name}"
        if isinstance(about, dict) and isinstance(about.get("parameters"), dict):
            yield from _parameters(about["parameters"], f"{key}.")
        elif isinstance(about, dict):
            yield _parameter(key, about)
        else:
            raise InputError(f"parameters.{key}: {about!r} needs `value`, `values` or a distribution")


def _parameter(key: str, about: Mapping[str, Any]) -> Parameter:
    if "value" in about:
        return Parameter(key, "constant", (about["value"],))
    if "values" in about:
        return _choice(key, about)
    numbers = {name: _number(key, name, about[name]) for name in ("min", "max", "mu", "sigma", "q") if name in about}
    kind = about.get("distribution") or _implied(key, about)
    if kind not in DISTRIBUTIONS:
        raise InputError(f"parameters.{key}.distribution: {kind!r} is not one of {', '.join(sorted(DISTRIBUTIONS))}")
    if kind.startswith("q_") or kind == "q_log_uniform_values":
        numbers.setdefault("q", 1)
    elif "q" in numbers:
        raise InputError(f"parameters.{key}.q: a {kind} distribution has none: use q_{kind}")
    if kind not in _NORMAL:
        _check_bounds(key, kind, numbers)
    names = {"min": "low", "max": "high"}
    return Parameter(key, kind, **{names.get(name, name): value for name, value in numbers.items()})  # type: ignore[arg-type]


def _choice(key: str, about: Mapping[str, Any]) -> Parameter:
    values, weights = about["values"], about.get("probabilities")
    if not isinstance(values, list) or not values:
        raise InputError(f"parameters.{key}.values: {values!r} must be a list of one or more")
    if weights is None:
        return Parameter(key, "categorical", tuple(values))
    if len(weights) != len(values) or min(weights) < 0 or not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise InputError(f"parameters.{key}.probabilities: {weights!r} must be one a value and sum to 1")
    return Parameter(key, "categorical_w_probabilities", tuple(values), tuple(map(float, weights)))


def _implied(key: str, about: Mapping[str, Any]) -> str:
    if "mu" in about or "sigma" in about:
        return "normal"
    if "min" not in about or "max" not in about:
        raise InputError(
            f"parameters.{key}: {dict(about)!r} needs `value`, `values`, `min` and `max`, or a distribution"
        )
    return "int_uniform" if all(isinstance(about[name], int) for name in ("min", "max")) else "uniform"


def _number(key: str, name: str, value: Any) -> float:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            pass
        else:
            raise InputError(f"parameters.{key}.{name}: YAML reads {value!r} as text: write it as {float(value)!r}"
                             + (" with a point: 1.0e-5" if "e" in value.lower() else ""))  # fmt: skip
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"parameters.{key}.{name}: {value!r} must be a number")
    return value


def _check_bounds(key: str, kind: str, numbers: Mapping[str, float]) -> None:
    if "min" not in numbers or "max" not in numbers:
        raise InputError(f"parameters.{key}: a {kind} distribution needs min and max")
    low, high = numbers["min"], numbers["max"]
    if low > high or (kind in _LOGARITHMIC and low <= 0):
        rule = "0 < min <= max" if kind in _LOGARITHMIC else "min <= max"
        raise InputError(f"parameters.{key}: min {low} and max {high} of a {kind} distribution must be {rule}")
    if kind in _EXPONENTS and high > 300:
        raise InputError(f"parameters.{key}.max: {high} is an exponent of e in {kind}: use {kind}_values")

"""The parameters of a sweep: their distributions, read from a sweep file and checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from velm_lightning.errors import InputError, positive, within

_UNIT_EDGE = 1e-9
_LARGEST_GRID, _LARGEST_EXPONENT = 1_000_000, 300
_INSIDE = {"int_uniform", "uniform", "q_uniform"}
_EXPONENTS = {"log_uniform", "q_log_uniform", "inv_log_uniform"}
_LOGARITHMIC = {"log_uniform_values", "q_log_uniform_values", "inv_log_uniform_values"}
_NORMAL = {"normal", "q_normal", "log_normal", "q_log_normal"}
DISTRIBUTIONS = (
    _INSIDE | _EXPONENTS | _LOGARITHMIC | _NORMAL | {"constant", "categorical", "categorical_w_probabilities"}
)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a sweep, searched or fixed.

    Attributes:
        key: its dotted key.
        kind: one of ``DISTRIBUTIONS``.
        values: the choices, if the parameter is a choice.
        weights: the probabilities of the choices, if they are not equal.
        low: the smallest value, or for ``log_uniform`` its exponent.
        high: the largest value, or its exponent.
        mu: the mean of a normal distribution.
        sigma: the standard deviation of a normal distribution.
        q: values are rounded to multiples of ``q``; 0 does not round.
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
        """Return all values, in order.

        Raises:
            InputError: If the number of values is infinite, or larger than a million.
        """
        if self.values:
            return self.values
        step = 1 if self.kind == "int_uniform" else self.q
        if self.kind not in ("int_uniform", "q_uniform") or not step:
            raise InputError(f"parameters.{self.key}: a grid needs `values`, not a {self.kind} distribution")
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        if count > _LARGEST_GRID:
            raise InputError(f"parameters.{self.key}: {count:.3g} values are too many for a grid: use a larger q")
        return tuple(self.rounded(self.low + place * step) for place in range(count))

    def at(self, share: float) -> Any:
        """Return the inverse CDF at ``share`` (0 to 1): the value below which this share of the values lies."""
        share = min(1 - _UNIT_EDGE, max(_UNIT_EDGE, share))
        if self.kind == "categorical_w_probabilities":
            total, reached = sum(self.weights), 0.0
            for value, weight in zip(self.values, self.weights, strict=True):
                reached += weight / total
                if share < reached:
                    return value
            return self.values[-1]
        value = NormalDist(self.mu, self.sigma).inv_cdf(share)
        return self.rounded(math.exp(value) if "log" in self.kind else value)

    def bounds(self) -> tuple[float, float, bool]:
        """Return the smallest and the largest value, and whether the search is over their logarithms."""
        if self.kind in _EXPONENTS:
            low, high = (-self.high, -self.low) if self.kind.startswith("inv_") else (self.low, self.high)
            return math.exp(low), math.exp(high), True
        return self.low, self.high, self.kind in _LOGARITHMIC

    def rounded(self, value: float) -> Any:
        """Return a number between the bounds in the form that is passed to the command."""
        if self.kind == "int_uniform":
            return round(value)
        if not self.q:
            return value
        steps = round(value / self.q) * self.q
        return int(steps) if float(self.q).is_integer() else round(steps, 12)


def parameters_of(entries: Mapping[str, Any], prefix: str = "") -> Iterator[Parameter]:
    """Yield the parameters of a sweep file, nested ones under dotted keys.

    Raises:
        InputError: If a parameter cannot be used; the message names its key and the fix.
    """
    for name, entry in entries.items():
        key = f"{prefix}{name}"
        if isinstance(entry, dict) and isinstance(entry.get("parameters"), dict):
            yield from parameters_of(entry["parameters"], f"{key}.")
        elif isinstance(entry, dict):
            yield _parameter(key, entry)
        else:
            raise InputError(f"parameters.{key}: {entry!r} needs `value`, `values` or a distribution")


def _parameter(key: str, entry: Mapping[str, Any]) -> Parameter:
    if "value" in entry:
        return Parameter(key, "constant", (entry["value"],))
    if "values" in entry:
        return _choice(key, entry)
    numbers = {name: _number(key, name, entry[name]) for name in ("min", "max", "mu", "sigma", "q") if name in entry}
    kind = entry.get("distribution") or _implied(key, entry)
    if kind not in DISTRIBUTIONS:
        raise InputError(f"parameters.{key}.distribution: {kind!r} is not one of {', '.join(sorted(DISTRIBUTIONS))}")
    if kind.startswith("q_") or kind == "q_log_uniform_values":
        numbers.setdefault("q", 1)
    elif "q" in numbers:
        raise InputError(f"parameters.{key}.q: a {kind} distribution is not rounded; use q_{kind}, or remove q")
    (_check_normal if kind in _NORMAL else _check_bounds)(key, kind, numbers)
    names = {"min": "low", "max": "high"}
    return Parameter(key, kind, **{names.get(name, name): value for name, value in numbers.items()})  # type: ignore[arg-type]


def _choice(key: str, entry: Mapping[str, Any]) -> Parameter:
    values, weights = entry["values"], entry.get("probabilities")
    if not isinstance(values, list) or not values:
        raise InputError(f"parameters.{key}.values must be a list of one or more values, got {values!r}")
    if weights is None:
        return Parameter(key, "categorical", tuple(values))
    numbers = isinstance(weights, list) and all(type(weight) in (int, float) and weight >= 0 for weight in weights)
    if not numbers or len(weights) != len(values) or not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise InputError(f"parameters.{key}.probabilities must be one number per value and sum to 1, got {weights!r}")
    return Parameter(key, "categorical_w_probabilities", tuple(values), tuple(map(float, weights)))


def _implied(key: str, entry: Mapping[str, Any]) -> str:
    if "mu" in entry or "sigma" in entry:
        return "normal"
    if "min" not in entry or "max" not in entry:
        raise InputError(
            f"parameters.{key}: {dict(entry)!r} needs `value`, `values`, `min` and `max`, or a distribution"
        )
    return "int_uniform" if all(isinstance(entry[name], int) for name in ("min", "max")) else "uniform"


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
        raise InputError(f"parameters.{key}.{name} must be a number, got {value!r}")
    if name == "sigma":
        positive(f"parameters.{key}", sigma=value)
    within(0 if name == "q" else -math.inf, math.inf, f"parameters.{key}", **{name: value})
    return value


def _check_bounds(key: str, kind: str, numbers: Mapping[str, float]) -> None:
    if "min" not in numbers or "max" not in numbers:
        raise InputError(f"parameters.{key}: a {kind} distribution needs both `min` and `max`")
    low, high = numbers["min"], numbers["max"]
    if low > high or (kind in _LOGARITHMIC and low <= 0):
        rule = "0 < min <= max" if kind in _LOGARITHMIC else "min <= max"
        raise InputError(f"parameters.{key}: min {low} and max {high} of a {kind} distribution must be {rule}")
    if kind in _EXPONENTS:
        for name, value in (("min", low), ("max", high)):
            if abs(value) > _LARGEST_EXPONENT:
                raise InputError(f"parameters.{key}.{name}: {value} is an exponent of e in {kind}: use {kind}_values")


def _check_normal(key: str, kind: str, numbers: Mapping[str, float]) -> None:
    mean, deviation = numbers.get("mu", 0.0), numbers.get("sigma", 1.0)
    if "log" in kind and abs(mean) + 6 * deviation > _LARGEST_EXPONENT:
        raise InputError(
            f"parameters.{key}: mu {mean} and sigma {deviation} are exponents of e in {kind}: give smaller ones"
        )

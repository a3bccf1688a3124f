"""A sweep: its parameters, search method, metric and command."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.errors import InputError
from velm_lightning.sweep.macros import expanded
from velm_lightning.sweep.parameter import Parameter

Config = dict[str, Any]
VELM = (sys.executable, "-P", "-m", "velm_lightning")
"""The command ``velm``; with ``-P`` no file in the working directory hides a library."""


class Early(NamedTuple):
    """Early termination of bad trials by successive halving (Jamieson & Talwalkar 2016).

    Attributes:
        first: number of evaluations before the first decision.
        factor: one of ``factor`` trials continues at each decision.
    """

    first: int
    factor: int


class Match(NamedTuple):
    """Equal budgets of all arms; see ``velm budget``.

    Attributes:
        by: ``parameters`` or ``flops``.
        tolerance: relative difference that is near enough, as a number or with a percent sign.
    """

    by: str
    tolerance: str


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
        match: equal budgets of the arms; None keeps their sizes.
        tune: settings that are chosen for each arm in a stage of its own, and constants of that stage.
        settled: further settings of each arm, by its mark.
        only: the marks of the arms that are run; None for all.
        looks: the seeds and the numbers of seeds at which results are looked at, as JSON; empty if they are fixed.
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
    match: Match | None = None
    tune: tuple[Parameter, ...] = ()
    settled: Mapping[str, Config] = field(default_factory=dict)
    only: frozenset[str] | None = None
    looks: str = ""

    def arm(self, config: Config) -> str:
        """Return the mark of the arm that a trial belongs to: its varied values without seeds and tuned settings."""
        others = {"seed_everything", *(parameter.key for parameter in self.tune)}
        keys = [p.key for p in self.parameters if len(p.values) > 1 and p.key not in others]
        return json.dumps({key: config[key] for key in keys}, sort_keys=True)

    def settled_with(self, settings: Mapping[str, Config]) -> Spec:
        """Return the sweep with further settings of its arms."""
        marks = {*self.settled, *settings}
        return replace(self, settled={mark: {**self.settled.get(mark, {}), **settings.get(mark, {})} for mark in marks})

    def complete(self, config: Config) -> Config:
        """Return the values of a trial with the further settings of its arm."""
        return config | self.settled.get(self.arm(config), {}) if self.settled else config

    @property
    def searched(self) -> list[str]:
        """The keys of the parameters with more than one value."""
        return [parameter.key for parameter in self.parameters if len(parameter.values) != 1]

    def points(self) -> Iterator[Config]:
        """Yield every point of a grid, the last parameter fastest, up to ``cap``."""
        grids = [parameter.grid() for parameter in self.parameters]
        for number, point in enumerate(product(*grids)):
            if self.cap is not None and number >= self.cap:
                return
            config = dict(zip((parameter.key for parameter in self.parameters), point, strict=True))
            if self.only is None or self.arm(config) in self.only:
                yield config

    def split(self, key: str) -> list[Spec]:
        """Return one sweep per value of a parameter, each with the whole budget.

        Args:
            key: the key of the parameter, or its beginning: ``model`` means ``model.class_path``.

        Raises:
            InputError: If the key fits no parameter or several, or the parameter has fewer than two values.
        """
        matches = [parameter for parameter in self.parameters if parameter.key == key] or [
            parameter for parameter in self.parameters if parameter.key in (f"{key}.class_path", f"{key}.value")
        ]
        if len(matches) != 1 or len(matches[0].values) < 2:
            choices = ", ".join(parameter.key for parameter in self.parameters if len(parameter.values) > 1)
            raise InputError(f"--per {key} must name a parameter with several `values`: {choices or 'there is none'}")
        return [
            replace(
                self,
                name=f"{self.name}-{re.sub('[^a-z0-9_-]+', '-', str(value).rpartition('.')[2].lower())}",
                parameters=tuple(
                    replace(parameter, kind="constant", values=(value,), weights=())
                    if parameter is matches[0]
                    else parameter
                    for parameter in self.parameters
                ),
            )
            for value in matches[0].values
        ]

    def words(self, config: Config, args_file: Path) -> list[str]:
        """Return the command of a trial, with macros replaced as by ``wandb agent``.

        Raises:
            InputError: A macro or an environment variable does not exist.
        """
        words = expanded(self.command, config, args_file, self.program)
        if words and words[0] == "/usr/bin/env":
            words = words[1:]
        if words[:4] == [sys.executable, "-u", "-m", "velm_lightning"]:
            words = ["velm", *words[4:]]
        return [*VELM, *words[1:]] if words[:1] == ["velm"] else words


def flattened(config: Config) -> Config:
    """Return the values of a trial with dotted keys for classes and their arguments, classes first.

    The parser of configs drops ``model: {class_path: …}`` if the same file has a key such as ``model.init_args.x``.
    """
    flat = dict(item for key, value in config.items() for item in _leaves(key, value))
    classes = sorted((key for key in flat if key.endswith(".class_path")), key=lambda key: key.count("."))
    return {key: flat[key] for key in (*classes, *flat)} if len(flat) > len(config) else config


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or not value or set(value) - {"class_path", "init_args"}:
        yield key, value
        return
    if "class_path" in value:
        yield f"{key}.class_path", value["class_path"]
    for name, argument in (value.get("init_args") or {}).items():
        yield from _leaves(f"{key}.init_args.{name}", argument)

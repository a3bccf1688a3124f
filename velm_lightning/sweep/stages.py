"""The stages of a sweep before its own grid: equal budgets of all arms, and a search of settings for each arm.

An arm is a combination of the values that a grid varies, apart from its seeds and from the settings that are tuned.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from velm_lightning.errors import InputError
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.console import echo
from velm_lightning.io.plain import MOST_RECORD, holds_text, text_of
from velm_lightning.sweep.spec import VELM, Config, Spec, flattened

if TYPE_CHECKING:
    from velm_lightning.sweep.study import Study


def arms(spec: Spec) -> dict[str, Config]:
    """Return the first point of the grid of each arm, by the mark of the arm; see ``Spec.arm``."""
    firsts: dict[str, Config] = {}
    for point in spec.points():
        firsts.setdefault(spec.arm(point), point)
    return firsts


def with_budgets(spec: Spec, folder: Path) -> Spec:
    """Return a sweep whose arms have the widths with which ``velm budget`` matches them.

    The command runs in a process of its own, because a sweep needs no torch, and only once per sweep: its result is
    kept in ``folder``.

    Raises:
        InputError: the command of the trials is not ``velm fit``, or an arm cannot be matched.
    """
    if spec.match is None:
        return spec
    if spec.command[:2] != ("velm", "fit"):
        raise InputError(f"{spec.name}: match: needs trials that run `velm fit`, got {' '.join(spec.command[:2])}")
    points, place = arms(spec), folder / "budget"
    place.mkdir(parents=True, exist_ok=True)
    words = {}
    for number, (mark, point) in enumerate(points.items()):
        args_file = place / f"arm-{number}.json"
        write_atomic(args_file, json.dumps(flattened(point)))
        words[label(mark)] = spec.words(flattened(point), args_file)[len(VELM) + 1 :]  # after `velm fit`
    asked = {"by": spec.match.by, "tolerance": spec.match.tolerance, "arms": points}
    asked_file, found_file = place / "asked.json", place / "found.json"
    text = json.dumps(asked, sort_keys=True)
    settings = _read(found_file, points) if holds_text(asked_file, text) else None
    if settings is None:
        found_file.unlink(missing_ok=True)
        _ask(spec, words, place / "arms.json", found_file)
        write_atomic(asked_file, text)
        settings = _read(found_file, points)
    if settings is None:
        raise InputError(f"{spec.name}: match: {found_file} does not hold the settings of every arm: remove {place}")
    return spec.settled_with(settings)


def _read(found_file: Path, marks: Iterable[str]) -> dict[str, Config] | None:
    """Return the settings that ``velm budget`` has found for each arm; None if they cannot be read."""
    try:
        matches = json.loads(text_of(found_file, MOST_RECORD))["arms"]
        return {mark: dict(matches[label(mark)]["settings"]) for mark in marks}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _ask(spec: Spec, words: Mapping[str, list[str]], arms_file: Path, found_file: Path) -> None:
    assert spec.match is not None
    if len(words) < len(arms(spec)):
        raise InputError(f"{spec.name}: match: two arms have the same name: {', '.join(words)}")
    write_atomic(arms_file, json.dumps(words))
    command = [*VELM, "budget", "--arms", str(arms_file), "--by", spec.match.by]
    command += ["--tolerance", str(spec.match.tolerance), "--json", str(found_file)]
    if subprocess.run(command).returncode:
        found_file.unlink(missing_ok=True)
        raise InputError(f"{spec.name}: match: the budgets of the arms cannot be matched; nothing was run")


def tuning(spec: Spec) -> Spec:
    """Return the first stage of a sweep with ``tune``: a grid of the tuned settings for each arm."""
    tuned = {parameter.key for parameter in spec.tune}
    untuned = tuple(parameter for parameter in spec.parameters if parameter.key not in tuned)
    return replace(spec, name=f"{spec.name}-tuning", parameters=(*untuned, *spec.tune), cap=None)


def with_choices(spec: Spec, study: Study) -> Spec:
    """Return a sweep whose arms have the best settings of its first stage, by the metric on validation data.

    Raises:
        InputError: the first stage is not finished, or an arm has no trial with a score.
    """
    from optuna.trial import TrialState

    running = study.trials(TrialState.RUNNING, TrialState.WAITING)
    if running:
        raise InputError(
            f"{len(running)} trials of {study.spec.name} are not finished, possibly elsewhere: run the command again "
            "when they are"
        )
    values: dict[str, dict[str, list[float]]] = {mark: {} for mark in arms(spec)}
    for trial in study.trials(TrialState.COMPLETE):
        config = trial.user_attrs["config"]
        settings = json.dumps({key: config[key] for key in _searched(spec)})
        values[spec.arm(config)].setdefault(settings, []).append(float(trial.value or 0.0))
    choices: dict[str, Config] = {}
    for mark, of_settings in values.items():
        if not of_settings:
            raise InputError(f"{study.spec.name}: no trial of {label(mark)} has a score: `velm sweep --show` says why")
        choose = max if spec.maximize else min
        best = choose(of_settings, key=lambda settings: fmean(of_settings[settings]))  # noqa: B023 - called at once
        choices[mark] = json.loads(best)
        echo(f"{label(mark)}: {', '.join(_values(choices[mark]))} is best on validation data")
    return spec.settled_with(choices)


def _searched(spec: Spec) -> list[str]:
    """Return the keys of the settings that are chosen; seeds are averaged over."""
    return [each.key for each in spec.tune if len(each.grid()) > 1 and each.key != "seed_everything"]


def label(mark: str) -> str:
    """Return a short name of an arm: its classes, and its other values by the last word of their keys."""
    return " ".join(_values(json.loads(mark))) or "all"


def _values(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(inner, str(name))
    elif _last(key) == "class_path":
        yield _last(str(value))
    else:
        yield f"{_last(key)}={value}"


def _last(key: str) -> str:
    return key.rpartition(".")[2]

"""``velm budget``: finds widths with which several configs have the same number of parameters, or the same FLOPs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velm_lightning.cli.start.hints import no_file
from velm_lightning.errors import InputError, unreadable
from velm_lightning.io.argument_types import fits
from velm_lightning.io.atomic import write_output
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path
from velm_lightning.io.plain import MOST_RECORD, text_of

if TYPE_CHECKING:
    from velm_lightning.inspection.budget import Match


def main(words: Sequence[str]) -> int:
    """Print the widths of every config and write them as JSON; the exit code is 2 if one is beyond 5 %."""
    options, others = _parser().parse_known_args(list(words)[1:])
    tolerance = share(options.tolerance)
    if options.target is not None and options.target < 1:
        raise InputError(f"--target must be at least 1, got {options.target}")
    arms = _arms(options, others)

    from velm_lightning.cli.features import parts
    from velm_lightning.inspection.budget import budget_of, match

    built = {name: parts(arguments) for name, arguments in arms.items()}
    budgets = {name: budget_of(model, data, options.by) for name, (model, data) in built.items()}
    target = max(budgets.values()) if options.target is None else options.target
    matches = {
        name: match(model, partial(budget_of, data=data, by=options.by), target, tolerance)
        for name, (model, data) in built.items()
    }
    show(matches, options.by, target)
    if options.json:
        write_output(options.json, json.dumps(_plain(matches, options.by, target), indent=2) + "\n")
    _check(matches, options.by, target, tolerance)
    return 0


def share(text: str) -> float:
    """Return a share that is written as ``2%`` or ``0.02``.

    Raises:
        InputError: it is not one, or is above 5 %.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value <= 0.05:
        raise InputError(f"--tolerance must be above 0 and at most 5%, got {text}")
    return value


def _arms(options: argparse.Namespace, others: list[str]) -> dict[str, list[str]]:
    """Return the words of ``velm fit`` of every model to match, by its name."""
    if options.arms:
        return _words_of(options.arms)
    for path in (*options.config, *filter(None, [options.base])):
        if not path.is_file():
            raise InputError(no_file(path))
    if len({*options.config}) < 2 and options.target is None:
        raise InputError("velm budget matches several configs: name at least two, or one and its --target")
    base = ["--config", str(options.base)] if options.base else []
    return {str(path): [*base, "--config", str(path), *others] for path in options.config}


def _words_of(path: Path) -> dict[str, list[str]]:
    """Return the words of ``velm fit`` by name from a JSON file.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        arms = json.loads(text_of(path, MOST_RECORD))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError):
        arms = None
    if not arms or not fits(arms, dict[str, list[str]]):
        raise InputError(f"--arms {path}: expected a JSON object with lists of the words of `velm fit` by name")
    named: dict[str, list[str]] = arms
    return named


def show(matches: Mapping[str, Match], by: str, target: int) -> None:
    """Print a table with one row per config."""
    from velm_lightning.io.terminal import Console, Table

    table = Table("", f"{by} before", "changed", f"{by} after", "off", title=f"target: {target:,} {_unit(by)}")
    table.columns[0].overflow = "fold"
    for name, match in matches.items():
        changes = ", ".join(
            f"{key.rpartition('.')[2]} {'default' if match.replaced[key] is None else match.replaced[key]} → {value}"
            for key, value in match.settings.items()
        )
        numbers = (f"{match.before:,}", changes or "nothing", f"{match.after:,}", f"{match.error(target):+.2%}")
        table.add_row(name, *numbers)
    console = Console()
    console.print(table)
    for name, match in matches.items():
        if match.settings:
            console.print(
                f"{name}: {' '.join(f'--{key} {value}' for key, value in match.settings.items())}", soft_wrap=True
            )


def _plain(matches: Mapping[str, Match], by: str, target: int) -> dict[str, Any]:
    arms = {name: match._asdict() | {"error": match.error(target)} for name, match in matches.items()}
    return {"by": by, "target": target, "arms": arms}


def _check(matches: Mapping[str, Match], by: str, target: int, tolerance: float) -> None:
    """Print which configs are beyond the tolerance.

    Raises:
        InputError: one of them is beyond 5 %.
    """
    from velm_lightning.inspection.budget import LARGEST_ERROR

    for name, match in matches.items():
        error = match.error(target)
        nearest = f"{name}: the nearest reachable value is {match.after:,} {_unit(by)}, {error:+.1%} from {target:,}"
        if abs(error) > LARGEST_ERROR:
            raise InputError(
                f"{nearest}, and more than {LARGEST_ERROR:.0%} is refused: change the depth of its fusion or trunk, or "
                "name another --target"
            )
        if abs(error) > tolerance:
            echo(f"note: {nearest}, beyond the tolerance of {tolerance:.1%}")


def _unit(by: str) -> str:
    return {"parameters": "trained parameters", "flops": "FLOPs of a training step per sample"}[by]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm budget",
        usage="velm budget CONFIG… [--base CONFIG] [--by parameters|flops]\n"
        "                   [--tolerance 2%%] [options of velm fit]",
        description="Find widths with which several configs have the same number of trained parameters, or the same "
        "FLOPs of a training step. The depth of the text trunk stays; the width of its feed-forward networks is "
        "changed first, then that of the whole trunk. The target is the largest budget of the configs.",
    )
    parser.add_argument("config", nargs="*", type=user_path, help="YAML files as for velm fit --config")
    parser.add_argument("--base", type=user_path, help="a config that is read before each of them")
    parser.add_argument("--by", choices=["parameters", "flops"], default="parameters")
    parser.add_argument("--tolerance", default="2%", help="difference from the target that is near enough (2%%)")
    parser.add_argument("--target", type=int, help="the budget to reach")
    parser.add_argument("--json", type=user_path, metavar="FILE", help="write the widths there")
    parser.add_argument("--arms", type=user_path, metavar="FILE", help="words of velm fit by name, from velm sweep")
    return parser

"""The cases of ``velm bench gpu``, and the loop that runs them within a time limit."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from velm_lightning.bench.result import Cell, Result
from velm_lightning.io.console import echo


class Case(NamedTuple):
    """One row of a table.

    Attributes:
        part: the table.
        name: name of the row.
        worth: cases with a lower number run earlier.
        seconds: estimate of the time on a GPU; a case does not start if less time is left.
        measure: returns the figures by column.
    """

    part: str
    name: str
    worth: int
    seconds: float
    measure: Callable[[], Mapping[str, Cell]]


class Table(NamedTuple):
    """Title and columns of a part."""

    title: str
    columns: Sequence[str]


Outcomes = dict[Case, Mapping[str, Cell] | str]
"""The figures of each case, or why there are none."""


def run_cases(cases: Sequence[Case], minutes: float, after_each: Callable[[Outcomes], None]) -> Outcomes:
    """Run cases in the order of their worth; an error or a lack of time becomes the outcome of a case.

    Args:
        cases: the cases.
        minutes: time limit.
        after_each: called with the outcomes so far after every case, so that an interrupted run leaves its figures.
    """
    end = time.monotonic() + 60 * minutes
    outcomes: Outcomes = {case: "not run" for case in cases}
    for case in sorted(cases, key=lambda case: case.worth):
        if time.monotonic() + case.seconds > end:
            continue
        echo(f"{case.part}: {case.name} …", flush=True)
        try:
            outcomes[case] = case.measure()
        except Exception as error:  # noqa: BLE001 - one case must not lose the figures of the others
            outcomes[case] = f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        _free()
        after_each(outcomes)
    return outcomes


def tabulate(outcomes: Outcomes, tables: Mapping[str, Table], prefix: str) -> list[Result]:
    """Return one table per part, with a row per case in the order in which cases were declared."""
    results = []
    for part, (title, columns) in tables.items():
        result = Result(f"{prefix}{title}", ("", *columns))
        for case, outcome in outcomes.items():
            if case.part == part:
                figures = outcome if isinstance(outcome, Mapping) else {columns[0]: outcome}
                result.add_row(case.name, *(figures.get(column) for column in columns))
        results += [result] if result.rows else []
    return results


def _free() -> None:
    """Release the memory of the last case, and its compiled code."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

"""Ways that take turns within one run, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table

T = TypeVar("T")


def in_turns(ways: Sequence[Callable[[], T]], turns: int) -> tuple[list[list[float]], list[T]]:
    """Return the seconds of each way, turn by turn, and what each gave at last; a turn before them warms up."""
    times: list[list[float]] = [[] for _ in ways]
    given: list[T] = []
    for turn in range(turns + 1):
        given = []
        for way, taken in zip(ways, times, strict=True):
            started = time.perf_counter()
            given.append(way())
            if turn:
                taken.append(time.perf_counter() - started)
    return times, given


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """Return the ratios taken turn by turn."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


def in_short(values: Sequence[float], digits: int = 2) -> str:
    """Write the median and the range."""
    middle, least, most = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({least}-{most})"


def show(title: str, rows: Mapping[str, Sequence[float]]) -> None:
    """Print median, minimum and maximum of each row."""
    table = Table(title=title)
    for name in ("", "median", "min", "max"):
        table.add_column(name, justify="right")
    for name, values in rows.items():
        table.add_row(name, *(f"{f(values):.3f}" for f in (statistics.median, min, max)))
    Console().print(table)

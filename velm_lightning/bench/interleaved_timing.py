"""Times functions in turns within one process, so that other load on the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from velm_lightning.io.terminal import Console, Table

T = TypeVar("T")


def in_turns(
    ways: Sequence[Callable[[], T]], turns: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[list[list[float]], list[T]]:
    """Time functions in turns, after one turn that warms up.

    Args:
        ways: the functions.
        turns: number of timed turns.
        clock: returns the current time in seconds; by default elapsed time.

    Returns:
        The seconds of each function per turn, and the last result of each function.
    """
    times: list[list[float]] = [[] for _ in ways]
    results: list[T] = []
    for turn in range(turns + 1):
        results = []
        for way, taken in zip(ways, times, strict=True):
            started = clock()
            results.append(way())
            if turn:
                taken.append(clock() - started)
    return times, results


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """Return the ratio of two times per turn."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


def in_short(values: Sequence[float], digits: int = 2) -> str:
    """Format the median and the range of values."""
    middle, least, most = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({least}-{most})"


def show(title: str, rows: Mapping[str, Sequence[float]]) -> None:
    """Print a table with median, minimum and maximum of each row."""
    table = Table(title=title)
    for name in ("", "median", "min", "max"):
        table.add_column(name, justify="right")
    for name, values in rows.items():
        table.add_row(name, *(f"{f(values):.3f}" for f in (statistics.median, min, max)))
    Console().print(table)

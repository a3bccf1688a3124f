"""Times functions in turns within one process, so that other load on the machine affects all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from velm_lightning.bench.interval import Interval
from velm_lightning.bench.result import Result

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


def summary(title: str, rows: Mapping[str, Sequence[float]]) -> Result:
    """Return a table with the median of each row, its interval and the number of turns."""
    result = Result(title, ("", "median", "interval", "turns"))
    for name, values in rows.items():
        middle = Interval.of(values)
        result.add_row(
            name, middle, f"{100 * middle.half_width:.1f} %" if middle.half_width < 10 else "range", middle.turns
        )
    return result

"""Decides which pairs of methods need more seeds: those without a claim, and without a difference that is too small."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from velm_lightning.compare.comparing import compare
from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.pairs import Pair
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.views.numbers import points
from velm_lightning.compare.views.sheet import Sheet


class Decision(NamedTuple):
    """The state of a pair.

    Attributes:
        pair: the pair.
        bound: no difference larger than this is compatible with the runs: the end of the interval of the whole family.
        rope: the difference below which methods count as equal; 0 if there is none.
    """

    pair: Pair
    bound: float
    rope: float

    @property
    def settled(self) -> bool:
        """Whether more seeds are not needed; a pair of two controls never asks for seeds."""
        return self.pair.clear or self.bound < self.rope or all(of.method.control for of in self.pair[:2])

    @property
    def words(self) -> str:
        """The decision."""
        if self.pair.clear:
            return f"decided: {self.pair.a.method.name} is better"
        small = f"no difference larger than {self.bound:.3g}"
        return f"decided: {small}" if self.bound < self.rope else f"open: {small}"


def decisions(comparison: Comparison, rope: float = 0.0) -> list[Decision]:
    """Return the state of all pairs.

    The bounds hold together in 95 % of comparisons: each interval has the level of its look divided by the number of
    pairs.

    Args:
        comparison: the comparison of the runs so far.
        rope: pairs whose difference is certainly smaller are decided, too.
    """
    tests = max(1, len(comparison.pairs))
    states = []
    for pair in comparison.pairs:
        gap = pair.difference
        half = float(gap.spread.half_width(gap.level / tests)) if gap.seeds > 1 else float("inf")
        states.append(Decision(pair, abs(gap.interval.value) + half, rope))
    return states


def decided(folders: Sequence[Path], rope: float = 0.0) -> tuple[list[Path], Sheet]:
    """Compare runs, and return the folders of those whose methods need more seeds, and a table of the decisions.

    Raises:
        InputError: If the runs cannot be compared.
    """
    comparison = compare(*read_runs(list(folders)))
    states = decisions(comparison, rope)
    undecided = [run for state in states if not state.settled for of in state.pair[:2] for run in of.method.runs]
    return list(dict.fromkeys(run.folder for run in undecided)), _sheet(comparison, states)


def _sheet(comparison: Comparison, states: Sequence[Decision]) -> Sheet:
    rows = [
        [
            state.pair.a.method.name,
            state.pair.b.method.name,
            points(state.pair.difference.interval),
            str(state.pair.difference.seeds),
            state.words,
        ]
        for state in states
    ]
    caption = (
        "Intervals are for each pair separately, corrected for the looks; claims are corrected for looks and pairs "
        "(Holm), and the bounds hold together for all pairs."
    )
    head = ["better", "worse", f"difference of {comparison.tested} [95 %]", "seeds", "decision"]
    return Sheet(f"decisions on {comparison.split}", head, rows, 2, caption)

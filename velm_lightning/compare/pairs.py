"""Tests all pairs of methods as one family, with one rule for all claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from velm_lightning.compare.deciding.sequential import Schedule, looked_p
from velm_lightning.compare.reading import RunFolder
from velm_lightning.compare.result import Result
from velm_lightning.compare.statistics import (
    LEVEL,
    MOST_SEEDS,
    Difference,
    Table,
    difference,
    family_p,
    least_seeds,
    seeds_needed,
)

MOST = 10
"""Maximum number of methods compared in pairs; of more, the best of each fusion on validation data are compared."""


class Pair(NamedTuple):
    """Two methods and their difference; ``a`` is the better according to the runs that were compared.

    Attributes:
        a: the better method.
        b: the other method.
        difference: A minus B.
        p: the p-value, corrected for the family by Holm; NaN if there are too few seeds for a claim.
        needed: number of seeds with which the pair would be decided; see ``seeds_needed``.
        least: the number of seeds that a claim about the pair needs: that of the family, or, if the pair has fewer
            seeds, that of a family of all methods.
    """

    a: Result
    b: Result
    difference: Difference
    p: float
    needed: float
    least: int

    @property
    def clear(self) -> bool:
        """Whether A is claimed to be better: p is below 5 % over the family."""
        return self.p < LEVEL

    @property
    def verdict(self) -> str:
        """The claim, or the reason why there is none."""
        if self.clear:
            return "clear"
        if self.difference.seeds < 2:
            models = "differ" if self.difference.p < LEVEL else "do not differ significantly"
            return f"one seed, no claim about methods: these two models {models}; {self.need}"
        return f"{'open' if self.difference.seeds >= self.least else 'too few seeds'}: {self.need}"

    @property
    def need(self) -> str:
        """The number of seeds that would decide the pair, in words."""
        if math.isnan(self.needed):
            return f"needs at least {self.least} seeds"
        if math.isinf(self.needed):
            return "needs more images"
        return f"needs {f'about {self.needed:.0f}' if self.needed <= MOST_SEEDS else f'more than {MOST_SEEDS}'} seeds"


class Family(NamedTuple):
    """The pairs that are tested together.

    Attributes:
        methods: the number of methods with enough seeds for a claim about them.
        least: the number of seeds that a claim needs, which depends on the number of these methods.
        tests: the number of pairs with as many seeds, for which Holm's correction is made.
        pairs: the number of all pairs.
    """

    methods: int
    least: int
    tests: int
    pairs: int

    @staticmethod
    def of(compared: Sequence[tuple[int, int, int]]) -> Family:
        """Return the family of pairs, each given as (method, method, number of seeds)."""
        able = {method for a, b, seeds in compared if seeds >= least_seeds(2) for method in (a, b)}
        least = least_seeds(max(2, len(able)))
        return Family(len(able), least, sum(seeds >= least for _, _, seeds in compared), len(compared))


def chosen(results: Sequence[Result], sign: int) -> list[Result]:
    """Return the methods that are compared in pairs; ``sign`` is 1 if higher is better, -1 if lower is."""
    if len(results) <= MOST:
        return list(results)
    best: dict[tuple[str, str], Result] = {}
    for result in results:
        key = result.method.data, result.method.fusion
        other = best.get(key)
        if other is None or math.isnan(other.validation) or sign * result.validation > sign * other.validation:
            best[key] = result
    return [result for result in results if best[result.method.data, result.method.fusion] is result]


def all_pairs(
    results: Sequence[Result], tables: dict[str, Table], rows: dict[int, int], sign: int
) -> tuple[list[Pair], Family]:
    """Compare all methods that were evaluated on the same data with each other.

    Args:
        results: the methods.
        tables: the figures of the runs by the data that they were evaluated on.
        rows: the row of each run in its table, by identity.
        sign: 1 if higher values of the figure in the tables are better, -1 if lower values are.
    """
    differences = [
        _ordered(a, b, tables[a.method.runs[0].data], rows, sign)
        for a, b in combinations(results, 2)
        if a.method.runs[0].data == b.method.runs[0].data
    ]
    family = Family.of([(id(a), id(b), gap.seeds) for a, b, gap in differences])
    p = family_p([gap.p for _, _, gap in differences], [gap.seeds for _, _, gap in differences], family.least)
    whole = Family(len(results), least_seeds(max(2, len(results))), len(differences), len(differences))
    pairs = []
    for (a, b, gap), corrected in zip(differences, p, strict=True):
        of = family if gap.seeds >= family.least else whole
        pairs.append(
            Pair(
                a=a,
                b=b,
                difference=gap,
                p=float(corrected),
                needed=seeds_needed(gap, of.tests, of.least),
                least=of.least,
            )
        )
    return pairs, family


def _ordered(a: Result, b: Result, table: Table, rows: dict[int, int], sign: int) -> tuple[Result, Result, Difference]:
    """Return the better method, the worse one and their difference, all computed from one set of runs."""
    gap = compared(a.method.runs, b.method.runs, table, rows)
    if sign * gap.interval.value < 0:
        return b, a, compared(b.method.runs, a.method.runs, table, rows)
    return a, b, gap


def compared(a: Sequence[RunFolder], b: Sequence[RunFolder], table: Table, rows: dict[int, int]) -> Difference:
    """Return the difference of two methods, with p and interval corrected for the looks that a sweep has taken.

    Args:
        a: the runs of A.
        b: the runs of B.
        table: the figure of every run on the same samples.
        rows: the row of each run in the table, by identity.
    """
    schedules = {schedule for run in (*a, *b) if (schedule := Schedule.of(run.record))}
    if not schedules:
        return difference(table, *compared_rows(a, b, rows))
    if len(schedules) > 1:  # several sweeps decided when to stop, each on its own
        return difference(table, *compared_rows(a, b, rows))._replace(p=1.0)
    return _looked(a, b, table, rows, schedules.pop())


def _looked(
    a: Sequence[RunFolder], b: Sequence[RunFolder], table: Table, rows: dict[int, int], schedule: Schedule
) -> Difference:
    """Return the difference at the last look, whose p is corrected for the earlier ones.

    A look counts if it added seeds to both methods; it supports a claim if it has the sign of the last one.
    """
    looks: list[Difference] = []
    shares = []
    for count, share in zip(schedule.looks, schedule.shares, strict=True):
        of_a, of_b = ([run for run in runs if run.seed in schedule.seeds[:count]] for runs in (a, b))
        rows_a, rows_b, paired = compared_rows(of_a, of_b, rows)
        if min(len(rows_a), len(rows_b)) > (looks[-1].seeds if looks else 0):
            looks.append(difference(table, rows_a, rows_b, paired, share))
            shares.append(share)
    if not looks:  # runs with other seeds than those of the schedule
        return difference(table, *compared_rows(a, b, rows))._replace(p=1.0)
    last = looks[-1]
    p = [gap.p if gap.interval.value * last.interval.value > 0 else 1.0 for gap in looks]
    return last._replace(p=float(looked_p(p, shares)))


def compared_rows(
    a: Sequence[RunFolder], b: Sequence[RunFolder], rows: dict[int, int]
) -> tuple[list[int], list[int], bool]:
    """Return the rows of the compared runs, and whether they are paired: by seeds in common, if there are two."""
    by_seed = [{run.seed: rows[id(run)] for run in runs} for runs in (a, b)]
    common = [seed for seed in by_seed[0] if seed in by_seed[1]]
    paired = len(common) > 1 or (len(common) == 1 and min(len(a), len(b)) == 1)
    rows_a, rows_b = (
        [row_by_seed[seed] for seed in common] if paired else list(row_by_seed.values()) for row_by_seed in by_seed
    )
    return rows_a, rows_b, paired

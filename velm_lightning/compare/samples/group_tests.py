"""Tests every method against all controls on every group of samples, as one family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from velm_lightning.compare.pairs import compared
from velm_lightning.compare.reading import Scores
from velm_lightning.compare.result import Result
from velm_lightning.compare.samples.agreement import Agreement, agreement
from velm_lightning.compare.statistics import LEVEL, Difference, Table, family_p, least_seeds
from velm_lightning.io.groups import belongs

FEWEST_IMAGES = 10
"""Number of images from which a group is tested: with fewer, the variance over images is not known well enough."""

MOST_GROUPS = 12
"""The largest groups are tested, so that the family stays small."""


class AgainstControl(NamedTuple):
    """A method less a control on one group.

    Attributes:
        control: the control.
        difference: the method minus the control, with its interval.
        agreement: how often both give the same answer.
    """

    control: Result
    difference: Difference
    agreement: Agreement


class GroupTest(NamedTuple):
    """A method against the controls on one group of samples.

    Attributes:
        group: the name of the group.
        method: the method.
        against: the comparison with each control.
        p: the p-value that the method is better than every control, corrected for the family by Holm; NaN if there are
            too few seeds or images for a claim.
        least: the number of seeds that a claim needs.
    """

    group: str
    method: Result
    against: list[AgainstControl]
    p: float
    least: int

    @property
    def clear(self) -> bool:
        """Whether the method is claimed to be better than every control."""
        return self.p < LEVEL

    @property
    def seeds(self) -> int:
        """The number of seeds of the comparison that has the fewest."""
        return min(other.difference.seeds for other in self.against)


def least_seeds_of_groups(tests: int) -> int:
    """Return the number of seeds that a claim needs in a family of ``tests`` pairs of a group and a method.

    With two modes per group, all S runs of a method show the upper and all of a control the lower mode with a
    probability of 4 to the power of -S, in either direction. This returns the smallest S for which that happens in less
    than 5 % of families: 3 up to one test, 4 up to six, 5 up to 25, 6 up to 102.
    """
    return max(least_seeds(2), math.ceil(math.log(2 * max(1, tests) / LEVEL, 4)))


def group_tests(
    results: Sequence[Result],
    tables: Mapping[str, Mapping[str, Table]],
    rows: dict[int, int],
    scores: Mapping[int, Scores],
    sign: int,
) -> list[GroupTest]:
    """Test every method on every group against all controls on the same data.

    That a method is better than every control is one claim, whose p is the largest of those of the single controls (an
    intersection-union test, Berger 1982).

    Args:
        results: the methods.
        tables: for each data, the figures of the runs on each group.
        rows: the row of each run in its table, by identity.
        scores: the predictions of each run, by identity.
        sign: 1 if higher values of the figure are better, -1 if lower values are.
    """
    tests = []
    for result in results:
        controls = [other for other in results if other.method.control and other.method.data == result.method.data]
        if result.method.control or not controls:
            continue
        largest = sorted(tables[result.method.data].items(), key=lambda item: -_size(scores, result, item[0]))
        for group, table in largest[:MOST_GROUPS]:
            against = [_against(result, control, group, table, rows, scores) for control in controls]
            tests.append(GroupTest(group, result, against, _p(against, sign), 0))
    able = [test for test in tests if _images(test) >= FEWEST_IMAGES and test.seeds >= least_seeds(2)]
    least = least_seeds_of_groups(len(able))
    seeds = [test.seeds if test in able else 0 for test in tests]
    corrected = family_p([test.p for test in tests], seeds, least)
    return [test._replace(p=float(p), least=least) for test, p in zip(tests, corrected, strict=True)]


def _size(scores: Mapping[int, Scores], result: Result, group: str) -> int:
    return sum(belongs(name, group) for name in scores[id(result.method.runs[0])].groups)


def _images(test: GroupTest) -> int:
    return min(other.difference.spread.images for other in test.against)


def _against(
    result: Result, control: Result, group: str, table: Table, rows: dict[int, int], scores: Mapping[int, Scores]
) -> AgainstControl:
    return AgainstControl(
        control=control,
        difference=compared(result.method.runs, control.method.runs, table, rows),
        agreement=agreement(result.method, control.method, scores, group),
    )


def _p(against: Sequence[AgainstControl], sign: int) -> float:
    better = all(sign * other.difference.interval.value > 0 for other in against)
    return max(other.difference.p for other in against) if better else 1.0

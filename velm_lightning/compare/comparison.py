"""Defines the result of a comparison: the numbers that all tables, pages and reports show."""

from __future__ import annotations

from typing import NamedTuple

from velm_lightning.compare.measures import Metric
from velm_lightning.compare.pairs import Family, Pair
from velm_lightning.compare.reading import RunFolder, SkippedRun
from velm_lightning.compare.result import Result
from velm_lightning.compare.samples.details import Details
from velm_lightning.compare.samples.group_tests import GroupTest


class TableText(str):
    """A text in Markdown that an interpreter shows as it is and a notebook renders."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return str(self)


class Comparison(NamedTuple):
    """The result of a comparison.

    Attributes:
        split: the split whose figures are compared.
        metric: the figure that methods are compared by.
        tested: the figure whose differences are tested: the same, or the mean sample score if it cannot be computed
            from single samples.
        tested_sign: 1 if higher values of the tested figure are better, -1 if lower values are; the metric may differ.
        results: the methods, best first.
        pairs: the paired tests.
        family: the pairs that are tested together.
        notes: limits and findings of the comparison, one sentence each.
        left: folders that were left out, with the reason.
        budgets: for each fusion, and each data set if there are several, the expected best validation figure of
            1, 2, … trials.
        floors: scores without a model, such as that of the majority answer; they are not methods and not tested.
        groups: the tests of every method against all controls on every group of samples.
        grouped_by: how samples were grouped if the data name no groups; empty if they do.
        details: calibration, scores by reference answer, sentences and ranks of the methods, by data set.
        agreement: the share of samples with the same prediction, by the names of two methods on the same data.
        rope: half the width of the region of practical equivalence of the posteriors; 0 if there is none.

    Example:
        >>> import velm_lightning as velm
        >>> isinstance(velm.Comparison, type)  # `velm.compare_runs` returns a comparison
        True
    """

    split: str
    metric: Metric
    tested: str
    tested_sign: int
    results: list[Result]
    pairs: list[Pair]
    family: Family
    notes: list[str]
    left: list[SkippedRun]
    budgets: dict[str, list[float]]
    floors: dict[str, float] = {}  # noqa: RUF012 - a default of a NamedTuple, which nothing changes
    groups: list[GroupTest] = []  # noqa: RUF012
    grouped_by: str = ""
    agreement: dict[tuple[str, str], float] = {}  # noqa: RUF012
    details: dict[str, Details] = {}  # noqa: RUF012
    rope: float = 0.0

    @property
    def runs(self) -> list[RunFolder]:
        """All runs."""
        return [run for result in self.results for run in result.method.runs]

    @property
    def controls(self) -> list[Result]:
        """The better control of each data set, by the figure that is tested."""
        best: dict[str, Result] = {}
        for result in self.results:
            other = best.get(result.method.data)
            if result.method.control and (
                other is None or self.tested_sign * result.tested > self.tested_sign * other.tested
            ):
                best[result.method.data] = result
        return list(best.values())

    def table(self) -> TableText:
        """Return all tables and notes as Markdown, which a notebook renders."""
        from velm_lightning.compare.views.exports import markdown  # which imports this module

        return TableText(markdown(self))

    def against(self, control: Result) -> list[Pair]:
        """Return the pairs of a control with every method that is not one; they belong to the family of all pairs."""
        return [
            pair
            for pair in self.pairs
            if (pair.a is control or pair.b is control) and not (pair.a.method.control and pair.b.method.control)
        ]

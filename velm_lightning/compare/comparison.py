"""Compares runs and returns the numbers that all tables, pages and reports show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.budgets import expected_best
from velm_lightning.compare.deciding.sequential import Schedule
from velm_lightning.compare.grouping import Method, data_mark, methods
from velm_lightning.compare.measures import COUNTS, Measure, Metric, Tested, metric_of, tested_figure
from velm_lightning.compare.modality_reliance import modality_reliance
from velm_lightning.compare.notes import notes_on
from velm_lightning.compare.pairs import MOST, Family, Pair, all_pairs, chosen
from velm_lightning.compare.reading import COSTS, RunFolder, Scores, SkippedRun
from velm_lightning.compare.result import Result, mean
from velm_lightning.compare.samples.agreement import agreement
from velm_lightning.compare.samples.details import Details, details
from velm_lightning.compare.samples.found_groups import found_groups
from velm_lightning.compare.samples.group_tests import GroupTest, group_tests
from velm_lightning.compare.statistics import Interval, Table, image_interval, seed_interval
from velm_lightning.errors import InputError


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
        details: calibration, scores by reference answer, and sentences, of the methods on the data of the best one.
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
    details: Details = Details({}, {}, {})
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
        from velm_lightning.compare.tables import markdown  # which imports this module

        return TableText(markdown(self))

    def against(self, control: Result) -> list[Pair]:
        """Return the pairs of a control with every method that is not one; they belong to the family of all pairs."""
        return [
            pair
            for pair in self.pairs
            if (pair.a is control or pair.b is control) and not (pair.a.method.control and pair.b.method.control)
        ]


class _Board(NamedTuple):
    """The figures of all runs on the same samples."""

    table: Table
    groups: dict[str, Table]  # of each group of samples


def compare(
    runs: Sequence[RunFolder],
    left: Sequence[SkippedRun] = (),
    split: str | None = None,
    controls: Sequence[str] = (),
    metric: str | None = None,
    rope: float = 0.0,
) -> Comparison:
    """Compare runs.

    Args:
        runs: finished runs.
        left: folders that were left out; they are listed in the result.
        split: the split; by default ``test`` if all runs have it, else ``val``.
        controls: further classes that are controls; runs of one modality always are.
        metric: the figure that is compared; by default the one that the runs monitor.
        rope: differences up to this one are practically equal: adds the posteriors of all pairs. 0 adds none.

    Raises:
        InputError: If no run can be compared on the split, a run lacks the metric, or ``rope`` is negative.
    """
    if not 0 <= rope < math.inf:
        raise InputError(f"--rope must be at least 0, got {rope:g}")
    split = split or ("test" if all("test" in run.record["scores"] for run in runs) else "val")
    scores, left = _scores(runs, split, list(left))
    compared = [run for run in runs if id(run) in scores]
    if not compared:
        reasons = "".join(f"\n{skipped.folder}: {skipped.why}" for skipped in left)
        raise InputError(f"none of {len(runs) + len(left)} runs can be compared on {split!r}:{reasons}")
    metric_compared = metric_of(compared, split, metric)
    tested = _tested(metric_compared, split, compared, scores)
    by_data = {
        data: [run for run in compared if run.data == data] for data in dict.fromkeys(run.data for run in compared)
    }
    grouped_by = _grouped(scores, list(by_data.values()))
    boards = {data: _board([scores[id(run)] for run in same], tested) for data, same in by_data.items()}
    rows = {id(run): row for same in by_data.values() for row, run in enumerate(same)}
    results = [
        _result(method, split, metric_compared, tested.name == metric_compared.name, boards[method.data], rows)
        for method in methods(compared, controls)
    ]
    results.sort(key=lambda result: (math.isnan(result.score.value), -metric_compared.sign * result.score.value))
    comparison = _tests(split, metric_compared, tested, results, boards, rows, scores)._replace(
        left=left,
        budgets=_budgets(results, metric_compared.sign),
        floors=_floors(compared, split, metric_compared.name, len(by_data) > 1),
        grouped_by=grouped_by,
        agreement=_agreement(results[:MOST], scores),
        details=details(results, scores),
        rope=rope,
    )
    return comparison._replace(notes=notes_on(comparison, scores))


def _tested(metric: Metric, split: str, runs: Sequence[RunFolder], scores: dict[int, Scores]) -> Tested:
    """Return the figure whose differences are tested."""
    figures = [run.figure(split, metric.name) for run in runs]
    return tested_figure(metric, [scores[id(run)] for run in runs], figures)


def _tests(
    split: str,
    metric: Metric,
    tested: Tested,
    results: list[Result],
    boards: dict[str, _Board],
    rows: dict[int, int],
    scores: dict[int, Scores],
) -> Comparison:
    """Return the tests of the best results, of all pairs and by groups of samples, without the other parts."""
    best = chosen(results, metric.sign)
    pairs, family = all_pairs(best, {data: board.table for data, board in boards.items()}, rows, tested.sign)
    groups = group_tests(best, {data: board.groups for data, board in boards.items()}, rows, scores, tested.sign)
    return Comparison(
        split=split,
        metric=metric,
        tested=tested.name,
        tested_sign=tested.sign,
        results=results,
        pairs=pairs,
        family=family,
        notes=[],
        left=[],
        budgets={},
        groups=groups,
    )


def _floors(runs: Sequence[RunFolder], split: str, metric: str, several: bool) -> dict[str, float]:
    """Return the figures without a model by their names, with a mark of the data if there are several."""
    return {
        f"{name} · data={data_mark(run)}" if several else name: value
        for run in runs
        for name, value in run.floors(split, metric).items()
    }


def _scores(
    runs: Sequence[RunFolder], split: str, left: list[SkippedRun]
) -> tuple[dict[int, Scores], list[SkippedRun]]:
    """Read the predictions of all runs; leave out runs without them, or with other samples than most runs."""
    scores: dict[int, Scores] = {}
    for run in runs:
        try:
            if split not in run.record["scores"]:
                raise InputError(f"it was not evaluated on {split!r}")
            Schedule.of(run.record)
            scores[id(run)] = run.scores(split)
        except InputError as error:
            left.append(SkippedRun(run.folder, str(error)))
    for data in dict.fromkeys(run.data for run in runs):
        same = [run for run in runs if run.data == data and id(run) in scores]
        times = Counter(scores[id(run)].keys for run in same)
        usual = max(times, key=lambda keys: (times[keys], len(keys)), default=())
        for run in same:
            if scores[id(run)].keys != usual:
                del scores[id(run)]
                left.append(
                    SkippedRun(run.folder, f"its {split} predictions are of other samples than those of other runs")
                )
    return scores, left


def _grouped(scores: dict[int, Scores], same_data: Sequence[Sequence[RunFolder]]) -> str:
    """Give all runs on the same data the groups and images of one of them, and return how groups were found, if any.

    Imported predictions of the same samples may name other groups and images than other runs, or none.
    """
    by = ""
    for runs in same_data:
        tables = [scores[id(run)] for run in runs]
        images = next((table.images for table in tables if table.images != table.keys), tables[0].images)
        groups = next((table.groups for table in tables if any(table.groups)), None)
        if groups is None:
            how, groups = found_groups(tables[0])
            by = how or by
        scores |= {id(run): scores[id(run)]._replace(groups=groups, images=images) for run in runs}
    return by


def _agreement(results: Sequence[Result], scores: dict[int, Scores]) -> dict[tuple[str, str], float]:
    """Return how often two methods on the same data give the same prediction, by their names in both orders."""
    shares = {}
    for a, b in combinations_with_replacement([result.method for result in results], 2):
        if a.data == b.data:
            shares[a.name, b.name] = shares[b.name, a.name] = agreement(a, b, scores).share
    return shares


def _board(scores: Sequence[Scores], tested: Tested) -> _Board:
    first, measure = scores[0], tested.measure
    table = _table(scores, measure)
    names = sorted({name for name in first.groups if name})
    return _Board(table, {name: _table([samples.of_group(name) for samples in scores], measure) for name in names})


def _table(scores: Sequence[Scores], measure: Measure) -> Table:
    """Return the figure of each run, with the effects of images."""
    images = np.unique(np.array(scores[0].images), return_inverse=True)[1]
    return Table.of([measure(samples) for samples in scores], images)


def _result(method: Method, split: str, metric: Metric, exact: bool, board: _Board, rows: dict[int, int]) -> Result:
    """Return the result of a method; ``exact`` if the metric itself is tested over images."""
    run_rows = [rows[id(run)] for run in method.runs]
    score = seed_interval([run.figure(split, metric.name) for run in method.runs])
    names = dict.fromkeys(name for run in method.runs for name in run.record["scores"][split] if name not in COUNTS)
    return Result(
        method=method,
        score=image_interval(board.table, run_rows[0]) if exact and len(run_rows) == 1 else score,
        tested=float(board.table.values[run_rows].mean()),
        validation=mean([run.figure("val", metric.name) for run in method.runs]),
        figures={name: mean([run.figure(split, name) for run in method.runs]) for name in names},
        groups={name: seed_interval(list(table.values[run_rows])) for name, table in board.groups.items()},
        floors=method.runs[0].floors(split, metric.name),
        costs={name: mean([run.cost(name) for run in method.runs]) for name in COSTS},
        probe=modality_reliance(method, split),
    )


def _budgets(results: Sequence[Result], sign: int) -> dict[str, list[float]]:
    """Return the expected best figures of the fusions that have several configurations."""
    trials: dict[str, list[float]] = {}
    several = len({result.method.data for result in results}) > 1
    for result in results:
        mark = f" · data={data_mark(result.method.runs[0])}" if several else ""
        trials.setdefault(result.method.fusion + mark, []).append(sign * result.validation)
    return {
        fusion: [sign * value for value in expected_best([value for value in values if value == value])]
        for fusion, values in trials.items()
        if len(values) > 1
    }


def points(interval: Interval) -> str:
    """Return a difference with its interval as text."""
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"

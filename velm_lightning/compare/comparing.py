"""Compares runs: reads their predictions, tests them, and returns a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement

from velm_lightning.compare.budgets import expected_best
from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.grouping import data_mark, methods
from velm_lightning.compare.measures import Metric, Tested, metric_of, tested_figure
from velm_lightning.compare.notes import notes_on
from velm_lightning.compare.pairs import MOST, all_pairs, chosen
from velm_lightning.compare.reading import RunFolder, Scores, SkippedRun
from velm_lightning.compare.result import Result, RunTables, result_of, run_tables
from velm_lightning.compare.samples.agreement import agreement
from velm_lightning.compare.samples.alignment import aligned_scores, share_groups
from velm_lightning.compare.samples.details import details
from velm_lightning.compare.samples.group_tests import group_tests
from velm_lightning.errors import InputError


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
    scores, left = aligned_scores(runs, split, list(left))
    compared = [run for run in runs if id(run) in scores]
    if not compared:
        reasons = "".join(f"\n{skipped.folder}: {skipped.why}" for skipped in left)
        raise InputError(f"none of {len(runs) + len(left)} runs can be compared on {split!r}:{reasons}")
    metric_compared = metric_of(compared, split, metric)
    tested = _tested(metric_compared, split, compared, scores)
    by_data = {
        data: [run for run in compared if run.data == data] for data in dict.fromkeys(run.data for run in compared)
    }
    grouped_by = share_groups(scores, list(by_data.values()))
    tables = {data: run_tables([scores[id(run)] for run in same], tested.measure) for data, same in by_data.items()}
    rows = {id(run): row for same in by_data.values() for row, run in enumerate(same)}
    results = [
        result_of(method, split, metric_compared, tested.name == metric_compared.name, tables[method.data], rows)
        for method in methods(compared, controls)
    ]
    results.sort(key=lambda result: (math.isnan(result.score.value), -metric_compared.sign * result.score.value))
    comparison = _tests(split, metric_compared, tested, results, tables, rows, scores)._replace(
        left=left,
        budgets=_budgets(results, metric_compared.sign),
        floors=_floors(compared, split, metric_compared.name, len(by_data) > 1),
        grouped_by=grouped_by,
        agreement=_agreement(results[:MOST], scores),
        details={
            data: details([result for result in results if result.method.data == data], scores) for data in by_data
        },
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
    tables: dict[str, RunTables],
    rows: dict[int, int],
    scores: dict[int, Scores],
) -> Comparison:
    """Return the tests of the best results, of all pairs and by groups of samples, without the other parts."""
    best = chosen(results, metric.sign)
    pairs, family = all_pairs(best, {data: of_data.table for data, of_data in tables.items()}, rows, tested.sign)
    groups = group_tests(best, {data: of_data.groups for data, of_data in tables.items()}, rows, scores, tested.sign)
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


def _agreement(results: Sequence[Result], scores: dict[int, Scores]) -> dict[tuple[str, str], float]:
    """Return how often two methods on the same data give the same prediction, by their names in both orders."""
    shares = {}
    for a, b in combinations_with_replacement([result.method for result in results], 2):
        if a.data == b.data:
            shares[a.name, b.name] = shares[b.name, a.name] = agreement(a, b, scores).share
    return shares


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

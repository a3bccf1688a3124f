"""The result of one method, from the figures of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from velm_lightning.compare.grouping import Method
from velm_lightning.compare.measures import COUNTS, Measure, Metric
from velm_lightning.compare.modality_reliance import ModalityReliance, modality_reliance
from velm_lightning.compare.reading import COSTS, Scores
from velm_lightning.compare.statistics import Interval, Table, image_interval, seed_interval
from velm_lightning.io.groups import group_names


class Result(NamedTuple):
    """The result of one method.

    Attributes:
        method: the method with its runs.
        score: the mean over seeds of the figure that is compared, with its interval over seeds, or over images if
            there is one seed.
        tested: the mean over seeds of the figure whose differences are tested.
        validation: the mean over seeds of the figure that is compared, on the validation split.
        figures: the means of all figures of the split.
        groups: the tested figure of each group of samples, its mean over seeds with an interval.
        floors: the figure that is compared for the majority answer and other answers without a model, by name.
        costs: the mean costs by their names in ``COSTS``.
        probe: the reliance on each modality; empty unless all runs were probed.
    """

    method: Method
    score: Interval
    tested: float
    validation: float
    figures: dict[str, float]
    groups: dict[str, Interval]
    floors: dict[str, float]
    costs: dict[str, float]
    probe: dict[str, ModalityReliance]


def mean(values: Sequence[float]) -> float:
    """Return the mean as a plain number."""
    return float(np.mean(values))


class RunTables(NamedTuple):
    """The tested figure of all runs on the same samples, on all samples and on each group of them."""

    table: Table
    groups: dict[str, Table]


def run_tables(scores: Sequence[Scores], measure: Measure) -> RunTables:
    """Return the tables of runs on the same samples."""
    table = _table(scores, measure)
    groups = {
        name: _table([samples.of_group(name) for samples in scores], measure) for name in group_names(scores[0].groups)
    }
    return RunTables(table, groups)


def _table(scores: Sequence[Scores], measure: Measure) -> Table:
    """Return the figure of each run, with the effects of images."""
    images = np.unique(np.array(scores[0].images), return_inverse=True)[1]
    return Table.of([measure(samples) for samples in scores], images)


def result_of(
    method: Method, split: str, metric: Metric, exact: bool, tables: RunTables, rows: dict[int, int]
) -> Result:
    """Return the result of a method; ``exact`` if the metric itself is tested over images."""
    run_rows = [rows[id(run)] for run in method.runs]
    score = seed_interval([run.figure(split, metric.name) for run in method.runs])
    names = dict.fromkeys(name for run in method.runs for name in run.record["scores"][split] if name not in COUNTS)
    return Result(
        method=method,
        score=image_interval(tables.table, run_rows[0]) if exact and len(run_rows) == 1 else score,
        tested=float(tables.table.values[run_rows].mean()),
        validation=mean([run.figure("val", metric.name) for run in method.runs]),
        figures={name: mean([run.figure(split, name) for run in method.runs]) for name in names},
        groups={name: seed_interval(list(table.values[run_rows])) for name, table in tables.groups.items()},
        floors=method.runs[0].floors(split, metric.name),
        costs={name: mean([run.cost(name) for run in method.runs]) for name in COSTS},
        probe=modality_reliance(method, split),
    )

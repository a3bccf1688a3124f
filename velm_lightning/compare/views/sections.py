"""Splits a comparison by data: figures on different data are never in one table, plot or ranking."""

from __future__ import annotations

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.grouping import data_mark
from velm_lightning.compare.views.header import dataset_of


def sections(comparison: Comparison) -> list[tuple[str, Comparison]]:
    """Return one part per data set with its title; one part without a title if there is one data set.

    The family of the claims stays that of all data.
    """
    data = list(dict.fromkeys(result.method.data for result in comparison.results))
    if len(data) == 1:
        return [("", comparison)]
    parts = [_part(comparison, mark) for mark in data]
    return [(f"data set {place}: {dataset_of(part.runs[0])}", part) for place, part in enumerate(parts, 1)]


def _part(comparison: Comparison, data: str) -> Comparison:
    results = [result for result in comparison.results if result.method.data == data]
    names = {result.method.name for result in results}
    mark = f"data={data_mark(results[0].method.runs[0])}"
    return comparison._replace(
        results=results,
        pairs=[pair for pair in comparison.pairs if pair.a.method.data == data],
        groups=[test for test in comparison.groups if test.method.method.data == data],
        floors={name: value for name, value in comparison.floors.items() if name.endswith(mark)},
        budgets={name: values for name, values in comparison.budgets.items() if name.endswith(mark)},
        agreement={pair: share for pair, share in comparison.agreement.items() if names.issuperset(pair)},
        details={data: comparison.details[data]},
    )

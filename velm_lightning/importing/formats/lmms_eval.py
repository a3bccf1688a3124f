"""``*_samples_<task>.jsonl`` of lmms-eval and lm-evaluation-harness, written with ``--log_samples``.

One line per document: ``doc_id``, ``doc``, ``target``, ``resps``, ``filtered_resps`` and one entry per metric: a
number, or a mapping with a ``score``. The prediction is the filtered response; for multiple choice by likelihood, the
index of the likeliest choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from velm_lightning.importing.rows import Choices, Imported, check_keys, chosen, field, row_of
from velm_lightning.io.files import show
from velm_lightning.io.record_files import TableRow, read_rows
from velm_lightning.types import InputError, Prediction

_NO_FIGURES = {"doc_id", "doc", "target", "arguments", "input", "resps", "filtered_resps", "filter", "metrics"}


def read(path: Path, choices: Choices) -> Imported:
    """Read the samples; see ``formats``."""
    records = list(read_rows(path))
    filters = dict.fromkeys(str(record.values["filter"]) for record in records if "filter" in record.values)
    wanted = chosen(list(filters), choices.filter, "filter", path)
    records = [record for record in records if str(record.values.get("filter", "")) == wanted]
    names = dict.fromkeys(
        name
        for record in records
        for name, value in record.values.items()
        if name not in _NO_FIGURES and not name.endswith("_hash") and not math.isnan(_score(value))
    )
    figure = chosen(list(names), choices.figure, "figure", path)
    return Imported([check_keys((_row(record, figure, choices) for record in records), path)], figure)


def _score(value: Any) -> float:
    """Return a metric of a sample: a number, a truth value, or the ``score`` of a mapping; NaN for anything else."""
    value = value.get("score") if isinstance(value, dict) else value
    return float(value) if isinstance(value, bool | int | float) else math.nan


def _row(record: TableRow, figure: str, choices: Choices) -> Prediction:
    where, values = record.where, record.values
    missing = [name for name in ("doc_id", "filtered_resps") if name not in values]
    if missing:
        raise InputError(f"{where}: has no {missing[0]}: give a file of samples that was written with --log_samples")
    document = values.get("doc")
    document = document if isinstance(document, dict) else {}
    return row_of(
        where,
        values["doc_id"],
        _response(values["filtered_resps"], where),
        values.get("target"),
        score=_score(values.get(figure)),
        group=field(document, choices.group, ["category"], f"{where}, doc"),
        prompt=field(document, None, ["question"], where),
        image=field(document, choices.image, ["image_id"], f"{where}, doc"),
    )


def _response(responses: Any, where: str) -> str:
    """Return the response, or the index of the likeliest choice for pairs of a likelihood and a flag."""
    while isinstance(responses, list) and responses:
        if _are_likelihoods(responses):
            return str(max(range(len(responses)), key=lambda place: float(responses[place][0])))
        responses = responses[0]
    if isinstance(responses, (list, dict)) and responses:
        raise InputError(f"{where}: filtered_resps is {show(responses)}, expected the text of a response")
    return str(responses or "")


def _are_likelihoods(responses: Sequence[Any]) -> bool:
    return all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], bool) and isinstance(pair[0], int | float)
        for pair in responses
    )

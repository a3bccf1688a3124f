"""Plain rows as JSON lines, a JSON list, CSV or TSV.

A row has ``key`` and ``prediction``, and may have ``references`` (a text or a list), ``score``, ``group``, ``prompt``,
``image`` and ``confidence``: the fields of ``predictions/<split>.jsonl`` of a run.
"""

from __future__ import annotations

from pathlib import Path

from velm_lightning.importing.rows import Choices, Imported, check_keys, field, number, row_of
from velm_lightning.io.record_files import TableRow, read_rows
from velm_lightning.types import InputError, Prediction


def read(path: Path, choices: Choices) -> Imported:
    """Read the rows; see ``formats``."""
    records = list(read_rows(path))
    name = choices.figure or "score"
    scored = any(record.values.get(name) not in (None, "") for record in records)
    if choices.figure and not scored:
        raise InputError(f"{path}: no row has a {choices.figure}: name the field that holds the score")
    return Imported([check_keys((_row(record, name, choices) for record in records), path)], name if scored else "")


def _row(record: TableRow, figure: str, choices: Choices) -> Prediction:
    where, values = record.where, record.values
    for name in ("key", "prediction"):
        if name not in values:
            raise InputError(f'{where}: has no {name}: write {{"key": …, "prediction": …, "references": [...]}}')
    return row_of(
        where,
        values["key"],
        values["prediction"],
        values.get("references") or (),
        score=number(values.get(figure), where, figure),
        group=field(values, choices.group, ["group"], where),
        prompt=values.get("prompt"),
        image=field(values, choices.image, ["image"], where),
        confidence=number(values.get("confidence"), where, "confidence"),
    )

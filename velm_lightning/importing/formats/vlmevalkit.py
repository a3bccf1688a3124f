"""Tables of VLMEvalKit: ``.xlsx``, ``.tsv``, ``.csv`` or ``.json``.

The columns are ``index``, ``question``, ``answer``, ``prediction`` and others. The tables that its evaluation writes
(``*_result.xlsx``) have a column ``hit``, which is the score.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from velm_lightning.importing.rows import Choices, Imported, check_keys, field, number, row_of
from velm_lightning.importing.spreadsheet import read_spreadsheet
from velm_lightning.io.record_files import TableRow, read_rows
from velm_lightning.types import InputError, Prediction


def read(path: Path, choices: Choices) -> Imported:
    """Read the table; see ``formats``."""
    records = list(read_spreadsheet(path) if path.suffix.lower() == ".xlsx" else read_rows(path))
    figure = choices.figure or ("hit" if any("hit" in record.values for record in records) else "")
    return Imported([check_keys((_row(record, figure, choices) for record in records), path)], figure)


def _row(record: TableRow, figure: str, choices: Choices) -> Prediction:
    where, values = record.where, record.values
    missing = next((name for name in ("index", "prediction", figure) if name and name not in values), None)
    if missing:
        raise InputError(
            f"{where}: has no column {missing!r}, only {', '.join(map(str, values))}: give a table of predictions"
        )
    return row_of(
        where,
        values["index"],
        values["prediction"],
        _references(values.get("answer")),
        score=number(values[figure], where, figure) if figure else float("nan"),
        group=field(values, choices.group, ["category"], where),
        prompt=values.get("question"),
        image=field(values, choices.image, ["image_path"], where),
    )


def _references(answer: Any) -> Any:
    """Return the answers; several are written as a Python list in one cell."""
    if isinstance(answer, str) and answer.startswith("[") and answer.endswith("]"):
        try:
            return [str(item) for item in ast.literal_eval(answer)]
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
    return answer if answer not in (None, "") else ()

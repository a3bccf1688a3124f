"""Predictions of another system for the samples of a run: references, groups, images and the scorer are the run's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.inspection.verify import read_rows, task_of
from velm_lightning.io.files import interpreting, show
from velm_lightning.io.plain import MOST_RECORD, checked_size
from velm_lightning.io.record_files import read_json
from velm_lightning.tasks.base import Task
from velm_lightning.types import InputError, Prediction


class ReferenceRun(NamedTuple):
    """A run whose samples were also given to another system.

    Attributes:
        folder: its folder.
        split: the evaluation.
        record: its ``run.json``.
        task: the task that scored it.
        rows: its predictions.
    """

    folder: Path
    split: str
    record: dict[str, Any]
    task: Task
    rows: list[Prediction]

    @staticmethod
    def of(folder: Path, split: str) -> ReferenceRun:
        """Read a run.

        Raises:
            InputError: The run was not evaluated on the split, or its files cannot be read.
        """
        with interpreting(folder, "a run"):
            record = read_json(checked_size(folder / "run.json", MOST_RECORD))
            if split not in (record.get("scores") or {}):
                known = ", ".join(record.get("scores") or {}) or "nothing"
                raise InputError(f"{folder} was not evaluated on {split!r}, only on {known}: choose one by --split")
            rows = read_rows(folder / "predictions" / f"{split}.jsonl")
            return ReferenceRun(folder, split, record, task_of(record, split), rows)

    def scored(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Return the rows of the run with these predictions and their scores.

        Raises:
            InputError: The predictions are not for the samples of the run.
        """
        by_key = {row.key: row for row in predictions}
        keys = {row.key for row in self.rows}
        for place, missing, other in (
            ("the file has no prediction for", [row.key for row in self.rows if row.key not in by_key], self.folder),
            ("it has no sample", [row.key for row in predictions if row.key not in keys], self.folder),
        ):
            if missing:
                raise InputError(
                    f"--like {other}: {place} {show(missing[0])} ({len(missing)} such keys): give one prediction "
                    f"per sample of predictions/{self.split}.jsonl, with its key"
                )
        return self.task.score(
            [
                row._replace(
                    prediction=by_key[row.key].prediction,
                    confidence=by_key[row.key].confidence,
                    score=math.nan,
                    loss=math.nan,
                )
                for row in self.rows
            ]
        )

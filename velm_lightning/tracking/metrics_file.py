"""A Lightning logger that writes the metrics of a run to one CSV file."""

from __future__ import annotations

import csv
import io
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from velm_lightning.errors import InputError
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.files import interpreting
from velm_lightning.io.plain import text_of


class MetricsFile(Logger):
    """Writes ``metrics.csv``: one row per logged step, one column per metric.

    A resumed run keeps the rows before the step that it resumes from, so that no step occurs twice.

    Args:
        path: path of the CSV file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, Any]] = {}
        self.dirty, self.written = False, 0.0

    @property
    @override
    def name(self) -> str:
        return "metrics"

    @property
    @override
    def version(self) -> str:
        return ""

    def resume(self, step: int) -> None:
        """Load the rows before ``step`` that an earlier start of the run wrote.

        Raises:
            InputError: The file is damaged.
        """
        if not self.path.exists():
            return
        with interpreting(self.path, "the metrics of a run"):
            text = io.StringIO(text_of(self.path), newline="")
            rows = {int(row["step"]): row for row in csv.DictReader(text, restval="", strict=True)}
            if any(None in row for row in rows.values()):
                raise InputError(f"{self.path}: has rows of more cells than columns: correct or remove the file")
        self.rows = {at: row | {"step": at} for at, row in rows.items() if at < step}

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add metrics to the row of ``step``."""
        at = 0 if step is None else step
        self.rows.setdefault(at, {"step": at}).update(metrics)
        self.dirty = True

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` holds the hyperparameters."""

    @rank_zero_only
    def save(self) -> None:
        """Write the file, at most every 5 seconds: Lightning calls this at every logged step."""
        if time.monotonic() - self.written > 5:
            self.flush()

    @rank_zero_only
    def flush(self) -> None:
        """Write the file if a metric was logged since the last write."""
        if not self.dirty:
            return
        names = dict.fromkeys(name for row in self.rows.values() for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[step] for step in sorted(self.rows))
        write_atomic(self.path, text.getvalue())
        self.dirty, self.written = False, time.monotonic()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the remaining rows at the end of the run."""
        self.flush()

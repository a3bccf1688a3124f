"""The metrics of a run as one CSV file."""

from __future__ import annotations

import csv
import io
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from velm_lightning.io.atomic import write_atomic


class MetricsFile(Logger):
    """Writes ``metrics.csv``: one row for each step at which something was logged, one column a metric.

    A run that goes on keeps the rows up to the step it goes on from, so that no step stands twice.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, Any]] = {}
        self.dirty, self.written = False, 0.0

    @property
    def name(self) -> str:
        """See ``Logger``."""
        return "metrics"

    @property
    def version(self) -> str:
        """See ``Logger``."""
        return ""

    def resume(self, step: int) -> None:
        """Take over the rows that an earlier part of the run wrote before ``step``."""
        if self.path.is_file():
            with self.path.open(encoding="utf-8", newline="") as file:
                found = {int(row["step"]): row for row in csv.DictReader(file)}
            self.rows = {at: row | {"step": at} for at, row in found.items() if at < step}

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add metrics to the row of ``step``."""
        at = 0 if step is None else step
        self.rows.setdefault(at, {"step": at}).update(metrics)
        self.dirty = True

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Leave them to ``config.yaml``."""

    @rank_zero_only
    def save(self) -> None:
        """Write the file, at most every few seconds: Lightning calls this at every logged step."""
        if time.monotonic() - self.written > 5:
            self.flush()

    @rank_zero_only
    def flush(self) -> None:
        """Write the file, if anything is new."""
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
        """Write what is left."""
        self.flush()

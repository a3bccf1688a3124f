"""The folder that a run leaves behind."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any

from velm_lightning.types import InputError, Row


class Run:
    """One run's folder ``<runs>/<experiment>/<id>/``: every file is written whole, beside its place, then renamed.

    Attributes:
        folder: the folder.
        record: what ``run.json`` holds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "run.json"
        self.record: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}

    @classmethod
    def create(cls, runs: Path, experiment: str, name: str) -> Run:
        """Open a new run; processes started by this one find the same id in their environment."""
        ident = os.environ.setdefault("VELM_RUN_ID", f"{name}-{secrets.token_hex(3)}")
        if experiment in ("", ".", "..") or Path(experiment).name != experiment:
            raise InputError(f"tracking.experiment is {experiment!r}: give one folder name")
        run = cls(runs / experiment / ident)
        run.record |= {"id": ident, "experiment": experiment}
        return run

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> Run | None:
        """Find the run whose ``checkpoints`` folder holds ``checkpoint``, if there is one."""
        folder = checkpoint.resolve().parent.parent
        return cls(folder) if (folder / "run.json").is_file() else None

    @property
    def ident(self) -> str:
        """The run's id, the same on disk and in W&B."""
        return str(self.record["id"])

    def update(self, **fields: Any) -> None:
        """Put ``fields`` into ``run.json``."""
        self.record |= fields
        write_whole(self.folder / "run.json", json.dumps(self.record, indent=2, default=str) + "\n")

    def write_predictions(self, split: str, rows: Iterable[Row]) -> Path:
        """Write one JSON line a sample to ``predictions/<split>.jsonl``."""
        path = self.folder / "predictions" / f"{split}.jsonl"
        lines = (json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)
        write_whole(path, "".join(lines))
        return path


def plain(row: Row) -> dict[str, Any]:
    """Return a row as JSON can hold it: what is not a number becomes null."""
    fields = row._asdict()
    return {name: None if isinstance(value, float) and isnan(value) else value for name, value in fields.items()}


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a reader sees the old one or the new one, never a part.

    Raises:
        InputError: the file cannot be written; the message names it and the reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def now() -> str:
    """Return the present time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

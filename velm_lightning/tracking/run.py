"""The folder that a run leaves behind."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any

from velm_lightning.io.atomic import write_atomic
from velm_lightning.tracking import watcher
from velm_lightning.types import InputError, Prediction

if sys.platform != "win32":
    import fcntl

LAUNCHED = "VELM_RUN_ID"
"""Environment variable: the process that launched this one as a rank of its run, and the folder of that run."""


class Run:
    """One run's folder ``<runs>/<experiment>/<id>/``: every file is written whole, beside its place, then renamed.

    Attributes:
        folder: the folder.
        record: what ``run.json`` holds.
        names: under which name this process keeps its evaluation of a split; see ``evaluations``.

    Raises:
        InputError: ``run.json`` is there and cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = _record(folder / "run.json")
        self.names: dict[str, str] = {}
        self._claim: int | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, runs: Path, experiment: str, name: str) -> Run:
        """Return a new run, whose folder does not exist yet.

        Raises:
            InputError: ``experiment`` is not the name of one folder.
        """
        if experiment in ("", ".", "..") or Path(experiment).name != experiment:
            raise InputError(f"tracking.experiment is {experiment!r}: give one folder name")
        folder = runs / experiment / f"{name}-{secrets.token_hex(3)}"
        while folder.exists():
            folder = folder.with_name(f"{name}-{secrets.token_hex(3)}")
        return cls(folder)._named()

    @classmethod
    def of_launcher(cls) -> Run | None:
        """Return the run that the parent process has handed down to this one, one of its ranks; None if there is none.

        The variable is ignored if another process has set it: exported in a shell, or left over from an earlier run.
        """
        launcher, _, folder = os.environ.get(LAUNCHED, "").partition(":")
        return cls(Path(folder))._named() if folder and launcher == str(os.getppid()) else None

    @contextmanager
    def handed_down(self) -> Iterator[None]:
        """Let the processes that this one starts in the meantime find the run; see ``of_launcher``."""
        os.environ[LAUNCHED] = f"{os.getpid()}:{self.folder.absolute()}"
        try:
            yield
        finally:
            os.environ.pop(LAUNCHED, None)

    def move_to(self, folder: Path) -> None:
        """Use another folder: that of rank 0, if ranks that no process of the run has launched drew their own."""
        if folder.absolute() != self.folder.absolute():
            self.folder, self.record = folder, _record(folder / "run.json")
            self._named()

    def _named(self) -> Run:
        self.record = {"id": self.folder.name, "experiment": self.folder.parent.name} | self.record
        return self

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> Run | None:
        """Find the run whose ``checkpoints`` folder holds ``checkpoint``, if there is one."""
        folder = checkpoint.resolve().parent.parent
        return cls(folder) if (folder / "run.json").is_file() else None

    @classmethod
    def of_config(cls, config: Path) -> Run | None:
        """Find the run whose own ``config.yaml`` this is, if it is one's."""
        folder = config.resolve().parent
        return cls(folder) if config.name == "config.yaml" and (folder / "run.json").is_file() else None

    @classmethod
    def unfinished(cls, runs: Path, experiment: str, config: str) -> Run | None:
        """Find the newest run of an experiment that has this config, was not finished, and nobody is at work on."""
        found = sorted((runs / experiment).glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in found:
            try:
                run = cls(path.parent)
            except InputError:
                continue  # a record that somebody has spoilt: not what is looked for
            own = run.folder / "config.yaml"
            same = own.is_file() and own.read_text("utf-8") == config
            if same and run.record.get("status") != "finished" and run.claim(shared=True):
                run.release()
                return run
        return None

    def claim(self, shared: bool = False) -> bool:
        """Take the run for this process, until it ends or releases it; false where another one is at work on it.

        The system forgets the claim of a process that died, however it died.

        Args:
            shared: only look whether the run is free, as all ranks of a job may at the same time.
        """
        if sys.platform == "win32":
            return True
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:  # some network filesystems know no such claims
            pass
        self._claim = descriptor
        return True

    def watch(self) -> None:
        """Have the run marked as failed when this process dies before it can say anything."""
        script = [sys.executable, "-I", "-S", watcher.__file__, os.path.abspath(self.folder / "run.json")]
        self._watcher = subprocess.Popen(script, stdin=subprocess.PIPE, start_new_session=True)

    def release(self) -> None:
        """Let others take the run; it has ended, and its record says how."""
        if self._watcher is not None:
            self._watcher.communicate()
            self._watcher = None
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    @property
    def ident(self) -> str:
        """The run's id, the same on disk and in W&B."""
        return str(self.record["id"])

    def update(self, **fields: Any) -> None:
        """Put ``fields`` into ``run.json``; what another process has written there since stays."""
        self.record |= _record(self.folder / "run.json")
        self.record |= fields
        write_atomic(self.folder / "run.json", json.dumps(self.record, indent=2, default=str) + "\n")

    def keep(self, name: str, **values: Any) -> None:
        """Put values of one evaluation into ``run.json``: each under its own heading, by the evaluation's name."""
        self.record |= _record(self.folder / "run.json")
        self.update(**{field: self.record.get(field, {}) | {name: value} for field, value in values.items()})

    def mark(self, status: str) -> None:
        """Put a status into ``run.json``, whatever another process has written there since."""
        if (self.folder / "run.json").is_file():
            self.update(status=status)

    def write_predictions(self, split: str, rows: Iterable[Prediction]) -> Path:
        """Write one JSON line a sample to ``predictions/<split>.jsonl``."""
        path = self.folder / "predictions" / f"{split}.jsonl"
        lines = (json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)
        write_atomic(path, "".join(lines))
        return path


def _record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}): mend it, or remove the run") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no record of a run: mend it, or remove the run")
    return found


def plain(row: Prediction) -> dict[str, Any]:
    """Return a row as JSON can hold it: what is not a number becomes null."""
    fields = row._asdict()
    return {name: None if isinstance(value, float) and isnan(value) else value for name, value in fields.items()}


def now() -> str:
    """Return the present time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

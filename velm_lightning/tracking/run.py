"""The folder of a run: its record, its predictions, and the claim of the process that uses it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velm_lightning.errors import InputError
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.files import interpreting, show
from velm_lightning.io.paths import is_folder_name
from velm_lightning.io.plain import MOST_RECORD, holds_text, text_of
from velm_lightning.tracking import watcher

if TYPE_CHECKING:
    from velm_lightning.types import Prediction

if sys.platform != "win32":
    import fcntl

PATIENCE = 5.0
"""Seconds to wait for the watcher at the end of a run."""

_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "mapping": ((dict,), "beside data evaluations floors groups model scores seen_in_training signatures timed"),
    "list": ((list,), "limits starts"),
    "text": ((str,), "checkpoint experiment id status"),
    "number": ((int, float), "minutes"),
}
"""The types of fields that are read again, for the file may be damaged or a stranger's; null stands for no field."""

LAUNCHED = "VELM_RUN_ID"
"""Environment variable with the id of the process that launched this rank, and the folder of its run."""


class Run:
    """One run's folder ``<runs>/<experiment>/<id>/``: all files are written atomically.

    Attributes:
        folder: the folder.
        record: the content of ``run.json``.
        names: the name that this process stores its evaluation of a split under, by split; see ``evaluations``.

    Raises:
        InputError: ``run.json`` exists and cannot be read.

    Example:
        >>> import velm_lightning as velm
        >>> from pathlib import Path
        >>> run = velm.Run(Path("runs/example/late-s0"))  # `velm.fit` returns a run
        >>> run.scores, run.best.name
        ({}, 'best.ckpt')
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = _record(folder / "run.json")
        self.names: dict[str, str] = {}
        self._claim: int | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        _RUNS.add(self)

    @classmethod
    def create(cls, runs: Path, experiment: str, name: str) -> Run:
        """Return a new run, whose folder does not exist yet.

        Raises:
            InputError: ``experiment`` is not the name of one folder.
        """
        if not is_folder_name(experiment):
            raise InputError(f"tracking.experiment is {experiment!r}: give one folder name")
        folder = runs / experiment / f"{name}-{secrets.token_hex(3)}"
        while folder.exists():
            folder = folder.with_name(f"{name}-{secrets.token_hex(3)}")
        return cls(folder)._named()

    @classmethod
    def of_launcher(cls) -> Run | None:
        """Return the run that the parent process passed to this rank with ``handed_down``; None if there is none.

        The variable is ignored if another process than the parent has set it, for example a shell.
        """
        launcher, _, folder = os.environ.get(LAUNCHED, "").partition(":")
        return cls(Path(folder))._named() if folder and launcher == str(os.getppid()) else None

    @contextmanager
    def handed_down(self) -> Iterator[None]:
        """Pass the run to the processes that are started in this context; see ``of_launcher``."""
        os.environ[LAUNCHED] = f"{os.getpid()}:{self.folder.absolute()}"
        try:
            yield
        finally:
            os.environ.pop(LAUNCHED, None)

    def move_to(self, folder: Path) -> None:
        """Use another folder: ranks that were launched separately switch to the folder of rank 0."""
        if folder.absolute() != self.folder.absolute():
            self.folder, self.record = folder, _record(folder / "run.json")
            self._named()

    def _named(self) -> Run:
        self.record = {"id": self.folder.name, "experiment": self.folder.parent.name} | self.record
        return self

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> Run | None:
        """Return the run whose ``checkpoints`` folder holds ``checkpoint``, or None."""
        folder = checkpoint.resolve().parent.parent
        return cls(folder) if (folder / "run.json").is_file() else None

    @classmethod
    def of_config(cls, config: Path) -> Run | None:
        """Return the run that this ``config.yaml`` belongs to, or None."""
        folder = config.resolve().parent
        return cls(folder) if config.name == "config.yaml" and (folder / "run.json").is_file() else None

    @classmethod
    def unfinished(cls, runs: Path, experiment: str, config: str) -> Run | None:
        """Return the newest unfinished run of an experiment with this config that no process uses, or None."""
        paths = sorted((runs / experiment).glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in paths:
            try:
                run = cls(path.parent)
            except InputError:
                continue  # a damaged record is not a run to resume
            file = run.folder / "config.yaml"
            same = holds_text(file, config)
            if same and run.record.get("status") != "finished" and run.claim(shared=True):
                run.release()
                return run
        return None

    def claim(self, shared: bool = False) -> bool:
        """Lock the run for this process until it exits or calls ``release``.

        The operating system drops the lock if the process dies.

        Args:
            shared: take a shared lock, which several ranks can hold at the same time.

        Returns:
            False if another process holds the lock.
        """
        if sys.platform == "win32":
            return True
        descriptor = _locked(self.folder, shared)
        if descriptor is None:
            return False
        self._claim = descriptor
        return True

    def watch(self) -> None:
        """Start a process that marks the run as failed if this process dies without setting a status."""
        script = [sys.executable, "-I", "-S", watcher.__file__, os.path.abspath(self.folder / "run.json")]
        self._watcher = subprocess.Popen(script, stdin=subprocess.PIPE, start_new_session=True)

    def release(self) -> None:
        """Release the lock after the run has ended, and wait for the watcher to exit."""
        self.close()
        if self._watcher is not None:
            try:
                self._watcher.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # it has nothing left to do, as the run has set its own status
                self._watcher.kill()
                self._watcher.wait()
            self._watcher = None

    def close(self) -> None:
        """Close the descriptors of the lock and of the watcher's pipe.

        A forked child does so at once: a loader process that outlives a killed run would hold the lock, and the watcher
        would wait for it.
        """
        if self._watcher is not None and self._watcher.stdin is not None:
            self._watcher.stdin.close()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def place(self, name: str) -> Path:
        """Return a folder in that of the run, to write to.

        Raises:
            InputError: It is a link that leads elsewhere, where files of the same names would be replaced.
        """
        place = self.folder / name
        if not place.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"{place} is a link that leads out of the run: put a folder in its place")
        return place

    @property
    def ident(self) -> str:
        """The id of the run, on disk and in W&B."""
        return str(self.record["id"])

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """The metrics of every evaluation by its split: ``run.scores["test"]["score"]``."""
        return dict(self.record.get("scores", {}))

    @property
    def best(self) -> Path:
        """The checkpoint that was evaluated: the one with the best validation score, or else the last."""
        return self.folder / "checkpoints" / Path(str(self.record.get("checkpoint", "best.ckpt"))).name

    def interpreting(self) -> AbstractContextManager[None]:
        """Return a context in which values of other types than those that a run writes are reported as input errors."""
        return interpreting(self.folder / "run.json", "the record of a run")

    def __repr__(self) -> str:
        scores = ", ".join(f"{split} {values['score']:.4f}" for split, values in self.scores.items())
        return f"<Run {self.folder} ({self.record.get('status', 'new')}){': ' + scores if scores else ''}>"

    def update(self, **fields: Any) -> None:
        """Write ``fields`` to ``run.json``; other fields that another process wrote in the meantime are kept."""
        self.record |= _record(self.folder / "run.json")
        self.record |= fields
        write_atomic(self.folder / "run.json", json.dumps(self.record, indent=2, default=str) + "\n")

    def keep(self, name: str, **values: Any) -> None:
        """Write values of an evaluation to ``run.json`` as ``{field: {name: value}}``."""
        self.record |= _record(self.folder / "run.json")
        self.update(**{field: self.record.get(field, {}) | {name: value} for field, value in values.items()})

    def mark(self, status: str) -> None:
        """Write a status to ``run.json`` if the file exists."""
        if (self.folder / "run.json").is_file():
            self.update(status=status)

    def write_predictions(self, split: str, rows: Iterable[Prediction], files: Mapping[str, str] | None = None) -> Path:
        """Write one JSON line per sample to ``predictions/<split>.jsonl``, with the file of its picture if given.

        Args:
            split: Name of the file.
            rows: The predictions.
            files: The picture's file by the key of the sample, which is written as ``file``.
        """
        path = self.place("predictions") / f"{split}.jsonl"
        given = {key: {"file": file} for key, file in (files or {}).items()}
        lines = (json.dumps(plain(row) | given.get(row.key, {}), ensure_ascii=False) + "\n" for row in rows)
        write_atomic(path, "".join(lines))
        return path


_RUNS: weakref.WeakSet[Run] = weakref.WeakSet()


def _close_all() -> None:
    for run in _RUNS:
        run.close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_all)


def in_use(folder: Path) -> bool:
    """Return whether a process holds the lock of a run, whatever its record holds."""
    if sys.platform == "win32":
        return False
    descriptor = _locked(folder, shared=True)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


if sys.platform != "win32":

    def _locked(folder: Path, shared: bool) -> int | None:
        """Lock a folder; return the descriptor that holds the lock, or None if another process has it."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # some network file systems have no locks
            pass
        return descriptor


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(text_of(path, MOST_RECORD))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}): fix it, or remove the run") from error
    if not isinstance(record, dict):
        raise InputError(f"{path} is not the record of a run (a JSON object): fix it, or remove the run")
    for kind, (types, names) in _FIELDS.items():
        for name in names.split():
            if record.get(name) is None:
                record.pop(name, None)
            elif not isinstance(record[name], types):
                raise InputError(f"{path}: {name} is {show(record[name])}, no {kind}: fix it, or remove the run")
    return record


def plain(row: Prediction) -> dict[str, Any]:
    """Return a prediction as a JSON object; NaN becomes None."""
    fields = row._asdict()
    return {name: None if isinstance(value, float) and isnan(value) else value for name, value in fields.items()}


def now() -> str:
    """Return the current time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

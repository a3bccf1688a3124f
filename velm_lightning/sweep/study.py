"""Trials in Optuna's storage: which point is next, what became of it, and what a killed sweep left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from velm_lightning.errors import InputError
from velm_lightning.sweep.spec import Config, Parameter, Spec

MARK = "VELM_SWEEP_TRIAL"
"""Environment variable of a trial's processes: the folder through which they and the sweep talk."""

ATTEMPTS = 3  # of a trial whose processes are killed


class Study:
    """The trials of one sweep; any number of processes may work on it.

    Args:
        spec: the sweep.
        storage: Optuna's storage: ``sqlite:///FILE``, ``postgresql://…``, or a file for its journal.
        folder: where the folders of trials lie.

    Raises:
        InputError: the storage holds another sweep of this name.
    """

    def __init__(self, spec: Spec, storage: str, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.spec, self.folder = spec, folder
        early = spec.early
        halving = early and optuna.pruners.SuccessiveHalvingPruner(
            min_resource=early.first, reduction_factor=early.factor, min_early_stopping_rate=0
        )
        self.optuna = optuna.create_study(
            study_name=spec.name,
            storage=opened(storage),
            sampler=_sampler(spec),
            pruner=halving or optuna.pruners.NopPruner(),
            direction="maximize" if spec.maximize else "minimize",
            load_if_exists=True,
        )
        self._prepare()

    def _prepare(self) -> None:
        """Write down what is searched; a grid's points wait in line from the start."""
        searched = json.dumps([self.spec.method, *(asdict(one) for one in self.spec.parameters)], default=str)
        known = self.optuna.user_attrs.get("searched")
        if known is None:
            if self.spec.method == "grid":
                for point in self.spec.points():
                    self.optuna.enqueue_trial({key: json.dumps(value) for key, value in point.items()})
            self.optuna.set_user_attr("searched", searched)
        elif known != searched:
            raise InputError(f"sweep {self.spec.name!r} was begun with other parameters: give it another `name`")

    def next(self) -> tuple[Trial, Config] | None:
        """Take the next trial, with its values; none where the budget is spent."""
        if self.spec.method == "grid" and not self.trials(TrialState.WAITING):
            return None
        trial = self.optuna.ask()
        for name, value in identity().items():
            trial.set_user_attr(name, value)
        fresh = not self._wanted(trial)
        spent = fresh if self.spec.method == "grid" else self._place(trial) >= (self.spec.cap or 0)
        if spent:  # several asked for the last one at once
            trial.set_user_attr("surplus", True)
            self.optuna.tell(trial, state=TrialState.FAIL)
            return None
        config = {one.key: self._suggest(trial, one) for one in self.spec.parameters}
        trial.set_user_attr("config", config)
        return trial, config

    def _place(self, trial: Trial) -> int:
        """Return how many trials that count came before: storages number trials atomically."""
        uncounted = sum(not counts(one) for one in self.optuna.get_trials(deepcopy=False) if one.number < trial.number)
        return int(trial.number) - uncounted

    def _suggest(self, trial: Trial, one: Parameter) -> Any:
        if self.spec.method == "grid":
            return json.loads(trial.suggest_categorical(one.key, [json.dumps(value) for value in one.grid()]))
        if one.kind == "constant":
            return one.values[0]
        if one.kind == "categorical":
            return json.loads(trial.suggest_categorical(one.key, [json.dumps(value) for value in one.values]))
        if one.kind == "int_uniform":
            return trial.suggest_int(one.key, int(one.low), int(one.high))
        if one.kind == "categorical_w_probabilities" or "normal" in one.kind:
            return one.at(trial.suggest_float(one.key, 0.0, 1.0))
        low, high, logarithmic = one.bounds()
        return one.rounded(trial.suggest_float(one.key, low, high, log=logarithmic))

    def folder_of(self, trial: Trial | FrozenTrial) -> Path:
        """Return the folder of a trial."""
        return (self.folder / f"{self.spec.name}-{trial.number:04d}").resolve()

    def finished(self, trial: Trial, value: float) -> None:
        """Write down the figure that a trial reached."""
        self.optuna.tell(trial, value)

    def pruned(self, trial: Trial) -> None:
        """Write down that a trial was stopped early."""
        self.optuna.tell(trial, state=TrialState.PRUNED)

    def failed(self, trial: Trial, error: str) -> None:
        """Write down why a trial failed; it counts, and is not tried again."""
        trial.set_user_attr("error", error)
        self.optuna.tell(trial, state=TrialState.FAIL)

    def lost(self, trial: Trial | FrozenTrial, error: str) -> None:
        """Put a trial whose processes were killed in line again, unless that happened too often."""
        attempt = int(trial.user_attrs.get("attempt", 1))
        final = attempt >= ATTEMPTS
        storage, ident = self.optuna._storage, trial._trial_id
        storage.set_trial_user_attr(ident, "error" if final else "lost", error)
        self.optuna.tell(trial.number, state=TrialState.FAIL)
        if not final:
            self.optuna.enqueue_trial(self._wanted(trial) | trial.params, user_attrs={"attempt": attempt + 1})

    def _wanted(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """Return the values that a trial was put in line with."""
        found: dict[str, Any] = self.optuna._storage.get_trial(trial._trial_id).system_attrs.get("fixed_params", {})
        return dict(found)

    def recover(self) -> int:
        """End what a killed sweep of this machine left running, put its trials in line again, and return their number.

        Trials of a sweep that is still alive, here or elsewhere, are left alone.
        """
        gone = [trial for trial in self.trials(TrialState.RUNNING) if abandoned(trial.user_attrs)]
        for trial in gone:
            end_processes(self.folder_of(trial))
            self.lost(trial, "the sweep was killed")
        return len(gone)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials that count, or those in some states."""
        found = self.optuna.get_trials(deepcopy=False, states=states or None)
        return found if states else [one for one in found if counts(one)]


def counts(trial: FrozenTrial) -> bool:
    """Say whether a trial is part of the budget: not one that was put in line again, nor one too many."""
    return not {"lost", "surplus"} & set(trial.user_attrs)


def opened(storage: str) -> Any:
    """Open Optuna's storage.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        if "://" not in storage:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            Path(storage).parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(storage))
        if storage.startswith("sqlite:///"):
            Path(storage.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            waiting = {"connect_args": {"timeout": 60}}
            return optuna.storages.RDBStorage(storage, engine_kwargs=waiting)
        return optuna.storages.RDBStorage(storage)
    except Exception as error:  # of whatever driver
        raise InputError(f"--storage {storage} cannot be opened: {' '.join(str(error).split())}") from error


def _sampler(spec: Spec) -> Any:
    if spec.method == "bayes":
        return optuna.samplers.TPESampler(constant_liar=True)
    return optuna.samplers.RandomSampler()


# Processes: who works on a trial, and ending those whom nobody waits for.


def identity() -> dict[str, Any]:
    """Return what tells this process from all others."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": born(os.getpid())}


def born(pid: int) -> str:
    """Return when a process began, as the kernel tells it; empty where it is gone or the kernel does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def abandoned(who: dict[str, Any]) -> bool:
    """Say whether the process that took a trial is gone; of other machines nothing is known."""
    if who.get("host") != socket.gethostname():
        return False
    try:
        os.kill(who["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return bool(born(who["pid"]) != who["born"])


def end_processes(folder: Path) -> None:
    """Kill every process of this machine that works on the trial in ``folder``."""
    for pid in _working(folder):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _working(folder: Path) -> Iterator[int]:
    wanted = f"{MARK}={folder}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


def best(trials: Sequence[FrozenTrial], maximize: bool) -> list[FrozenTrial]:
    """Return trials with the best first, those without a figure last, in the order of their numbers."""
    sign = -1 if maximize else 1
    done = [one for one in trials if one.state == TrialState.COMPLETE]
    rest = [one for one in trials if one.state != TrialState.COMPLETE]
    return sorted(done, key=lambda one: sign * (one.value or 0.0)) + rest

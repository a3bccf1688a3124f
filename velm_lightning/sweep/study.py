"""Keeps the trials of a sweep in Optuna's storage: the next point, results, and trials that a killed sweep left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.pool import NullPool

from velm_lightning.errors import InputError
from velm_lightning.sweep.parameter import Parameter
from velm_lightning.sweep.processes import gone, identity
from velm_lightning.sweep.spec import Config, Spec

ATTEMPTS = 3  # of a trial whose processes are killed
UNSIGNED = timedelta(minutes=1)
"""Time after which a trial that was taken without a record of its process counts as lost: the process was killed."""


class Study:
    """The trials of one sweep; several processes may work on them.

    Args:
        spec: the sweep.
        storage: Optuna's storage: ``sqlite:///FILE``, ``postgresql://…``, or a file for its journal.
        folder: the folder that holds the folders of the trials.

    Raises:
        InputError: If the storage holds another sweep of this name, is damaged or cannot be opened.
    """

    def __init__(self, spec: Spec, storage: str, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.spec, self.folder = spec, folder
        early = spec.early
        halving = early and optuna.pruners.SuccessiveHalvingPruner(
            min_resource=early.first, reduction_factor=early.factor, min_early_stopping_rate=0
        )
        with _readable(storage):
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
        """Store the search space; all points of a grid are enqueued at the start."""
        spec = self.spec
        more = [*filter(None, [spec.match]), *([] if spec.only is None else [sorted(spec.only)])]
        searched = json.dumps([spec.method, *(asdict(each) for each in spec.parameters), *more], default=str)
        known = self.optuna.user_attrs.get("searched")
        if known is None:
            if self.spec.method == "grid":
                for point in self.spec.points():
                    self.optuna.enqueue_trial({key: json.dumps(value) for key, value in point.items()})
            self.optuna.set_user_attr("searched", searched)
        elif known != searched:
            raise InputError(
                f"sweep {self.spec.name!r} was started with other parameters; give it another `name`, or restore them"
            )

    def next(self) -> tuple[Trial, Config] | None:
        """Return the next trial with its values, or None if the budget is spent."""
        grid = self.spec.method == "grid"
        while not grid or self.trials(TrialState.WAITING):
            trial = self._ask()
            trial.set_user_attr("worker", identity())
            if not self._too_many(trial):
                config = {parameter.key: self._suggest(trial, parameter) for parameter in self.spec.parameters}
                config = self.spec.complete(config)
                trial.set_user_attr("config", config)
                return trial, config
            trial.set_user_attr("surplus", True)
            self.optuna.tell(trial, state=TrialState.FAIL)
            if not grid:
                return None
        return None

    def _ask(self) -> Trial:
        """Take a trial; one worker at a time, because in SQLite two that ask at once can get the same one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "ask.lock"):
            return self.optuna.ask()

    def _too_many(self, trial: Trial) -> bool:
        """Return whether a trial exceeds the budget, or repeats a point of the grid that another process enqueued."""
        if self.spec.method != "grid":
            return self._place(trial) >= (self.spec.cap or 0)
        wanted = self._wanted(trial)
        earlier = (other.system_attrs.get("fixed_params") for other in self.trials() if other.number < trial.number)
        return not wanted or wanted in earlier

    def _place(self, trial: Trial) -> int:
        """Return the number of earlier trials that count; storages number trials atomically."""
        uncounted = sum(
            not counts(other) for other in self.optuna.get_trials(deepcopy=False) if other.number < trial.number
        )
        return int(trial.number) - uncounted

    def _suggest(self, trial: Trial, parameter: Parameter) -> Any:
        if self.spec.method == "grid":
            return json.loads(
                trial.suggest_categorical(parameter.key, [json.dumps(value) for value in parameter.grid()])
            )
        if parameter.kind == "constant":
            return parameter.values[0]
        if parameter.kind == "categorical":
            return json.loads(
                trial.suggest_categorical(parameter.key, [json.dumps(value) for value in parameter.values])
            )
        if parameter.kind == "int_uniform":
            return trial.suggest_int(parameter.key, int(parameter.low), int(parameter.high))
        if parameter.kind == "categorical_w_probabilities" or "normal" in parameter.kind:
            return parameter.at(trial.suggest_float(parameter.key, 0.0, 1.0))
        low, high, logarithmic = parameter.bounds()
        return parameter.rounded(trial.suggest_float(parameter.key, low, high, log=logarithmic))

    def folder_of(self, trial: Trial | FrozenTrial) -> Path:
        """Return the folder of a trial."""
        return (self.folder / f"{self.spec.name}-{trial.number:04d}").resolve()

    def finished(self, trial: Trial | FrozenTrial, value: float) -> None:
        """Record the figure of a finished trial."""
        self.optuna.tell(trial.number, value)

    def pruned(self, trial: Trial) -> None:
        """Record that a trial was stopped early."""
        self.optuna.tell(trial, state=TrialState.PRUNED)

    def failed(self, trial: Trial, error: str) -> None:
        """Record why a trial failed; it counts, and is not run again."""
        trial.set_user_attr("error", error)
        self.optuna.tell(trial, state=TrialState.FAIL)

    def lost(self, trial: Trial | FrozenTrial, error: str) -> None:
        """Enqueue a trial again after its processes were killed, at most ``ATTEMPTS`` times in all."""
        attempt = int(trial.user_attrs.get("attempt", 1))
        final = attempt >= ATTEMPTS
        self.note(trial, "error" if final else "lost", error)
        repeated = (other.user_attrs.get("again") for other in self.optuna.get_trials(deepcopy=False))
        if not final and trial.number not in repeated:  # before the trial is closed: a kill in between loses nothing
            again = {"attempt": attempt + 1, "again": trial.number}
            self.optuna.enqueue_trial(self._wanted(trial) | trial.params, user_attrs=again)
        self.optuna.tell(trial.number, state=TrialState.FAIL)

    def note(self, trial: Trial | FrozenTrial, key: str, value: Any) -> None:
        """Set an attribute of a trial that this or another process has taken."""
        self.optuna._storage.set_trial_user_attr(trial._trial_id, key, value)

    def _wanted(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """Return the values with which a trial was enqueued."""
        values: dict[str, Any] = self.optuna._storage.get_trial(trial._trial_id).system_attrs.get("fixed_params", {})
        return dict(values)

    def abandoned(self) -> list[FrozenTrial]:
        """Return the trials whose sweep was killed, without those of a running sweep, on this machine or another."""
        now = datetime.now()
        lost = []
        for trial in self.trials(TrialState.RUNNING):
            worker = trial.user_attrs.get("worker")
            if gone(worker) if worker else now - (trial.datetime_start or now) > UNSIGNED:
                lost.append(trial)
        return lost

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials that count, optionally only those in some states."""
        trials = self.optuna.get_trials(deepcopy=False, states=states or None)
        return trials if states else [trial for trial in trials if counts(trial)]


def counts(trial: FrozenTrial) -> bool:
    """Return whether a trial is part of the budget: it was not enqueued again and does not exceed the budget."""
    return not {"lost", "surplus"} & set(trial.user_attrs)


def opened(storage: str) -> Any:
    """Open Optuna's storage.

    Raises:
        InputError: If it cannot be opened.
    """
    with _readable(storage):
        if "://" not in storage:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            Path(storage).parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(storage))
        if storage.startswith("sqlite:///"):
            Path(storage.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            # A pool would keep connections of ended threads open until they are collected.
            settings = {"connect_args": {"timeout": 60}, "poolclass": NullPool}
            return optuna.storages.RDBStorage(storage, engine_kwargs=settings)
        return optuna.storages.RDBStorage(storage)


@contextmanager
def _readable(storage: str) -> Iterator[None]:
    """Raise ``InputError`` for whatever a storage raises that is damaged or cannot be opened."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # every database driver has its own
        reason = " ".join(str(error).split())
        raise InputError(f"--storage {storage} cannot be opened: {reason}: check the address and its driver") from error


def _sampler(spec: Spec) -> Any:
    if spec.method == "bayes":
        return optuna.samplers.TPESampler(constant_liar=True)
    return optuna.samplers.RandomSampler()


def best(trials: Sequence[FrozenTrial], maximize: bool) -> list[FrozenTrial]:
    """Return trials, best first; those without a figure come last, by their numbers."""
    sign = -1 if maximize else 1
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    rest = [trial for trial in trials if trial.state != TrialState.COMPLETE]
    return sorted(done, key=lambda trial: sign * (trial.value or 0.0)) + rest

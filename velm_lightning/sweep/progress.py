"""The console of a sweep: a header, one line per trial, and what to do next; the same in a terminal and in a file."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from velm_lightning.io.console import command, span
from velm_lightning.io.plain import LARGEST
from velm_lightning.sweep.spec import Config
from velm_lightning.sweep.study import Study, best
from velm_lightning.sweep.worker import run_folder, run_record

_log = logging.getLogger(__name__)


class Progress:
    """Logs a header and a line per trial, with its settings, the best figure so far and the time that is left.

    Args:
        study: The trials.
        workers: Number of trials that run at once.
    """

    def __init__(self, study: Study, workers: int) -> None:
        spec = study.spec
        self.study, self._lock, self._started, self._ended = study, threading.Lock(), time.monotonic(), 0
        self.total = spec.cap if spec.method != "grid" else sum(1 for _ in spec.points())
        better = "higher" if spec.maximize else "lower"
        _log.info(
            "sweep %s: %s, %s trials, %s of them done, %s at a time; %s, %s is better; output of a trial: %s",
            *(spec.name, spec.method, self.total, len(self._done()), workers, spec.metric, better),
            study.folder / f"{spec.name}-*" / "log.txt",
        )

    def ended(self, trial: Trial, config: Config, result: str, seconds: float) -> None:
        """Log the line of a trial that has ended."""
        with self._lock:
            self._ended += 1
            done = len(self._done())
            parts = [f"trial {trial.number} ({done}/{self.total})", f"{result}{self._best(trial)}", span(seconds)]
            parts.append(" ".join(f"{short(key)}={formatted(config.get(key))}" for key in self.study.spec.searched))
            left = (time.monotonic() - self._started) / self._ended * max(0, (self.total or 0) - done)
            _log.info("  ".join(filter(None, [*parts, f"about {span(left)} left" if left else ""])))

    def _done(self) -> list[FrozenTrial]:
        return [trial for trial in self.study.trials() if trial.state.is_finished()]

    def _best(self, trial: Trial) -> str:
        """Return whether a trial is the best so far, or else the best figure; empty if there is none."""
        first = best_trial(self.study)
        if first is None:
            return ""
        return " (best)" if first.number == trial.number else f" (best {first.value:.4f})"


def best_trial(study: Study) -> FrozenTrial | None:
    """Return the best finished trial, or None."""
    first = next(iter(best(study.trials(), study.spec.maximize)), None)
    return first if first is not None and first.state == TrialState.COMPLETE else None


def next_steps(study: Study) -> list[str]:
    """Return lines with the scores of the best run, and three commands to go on with; empty if there is no run."""
    first = best_trial(study)
    folder = run_folder(study.folder_of(first)) if first else None
    if first is None or folder is None:
        return []
    figures = list(_figures(run_record(study.folder_of(first)).get("scores")))
    place = Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder
    commands = [["compare", place.parent, "--html", "report.html"], ["ask", place, "--random"], ["probe", place]]
    best = f"best: trial {first.number}, {', '.join(figures)}: {place}"
    return [best, "next:", *(f"  {command('velm', *words)}" for words in commands)]


def _figures(scores: Any) -> Iterator[str]:
    """Yield the score of each split; the record may be of any program."""
    for split, values in scores.items() if isinstance(scores, Mapping) else ():
        score = values.get("score") if isinstance(values, Mapping) else None
        if isinstance(score, int | float) and not abs(score) > LARGEST:
            yield f"{split}/score {score:.4f}"


def short(key: str) -> str:
    """Return the key of a parameter without what every key has."""
    return key.removeprefix("model.init_args.").replace(".init_args", "").removesuffix(".class_path")


def formatted(value: Any) -> str:
    """Return a value of a parameter with at most four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""Runs trials one after another, each as a separate process that is watched while it runs."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.trial import Trial

from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.plain import text_of
from velm_lightning.sweep.processes import MARK, end_processes
from velm_lightning.sweep.spec import Config, flattened
from velm_lightning.sweep.study import Study
from velm_lightning.tracking.run_names import read_record

_LONGEST_PATH = 2**16
POLL = 0.1  # seconds between two checks of a trial
WAITS = "VELM_SWEEP_WAITS"
"""Environment variable: a trial waits after each evaluation for the decision to continue or stop."""

LOOKS = "VELM_SWEEP_LOOKS"
"""Environment variable: when a sweep looks at its results while it adds seeds, as JSON; goes into ``run.json``."""


def work(study: Study, stop: threading.Event, ended: Callable[[Trial, Config, str, float], None]) -> None:
    """Run trials until the budget is spent or ``stop`` is set; ``ended`` gets each with its result and its seconds."""
    while not stop.is_set() and (taken := study.next()) is not None:
        trial, config = taken
        started = time.monotonic()
        result = run_trial(study, trial, config, stop)
        ended(trial, config, result, time.monotonic() - started)


def recover(study: Study) -> int:
    """Kill processes that a killed sweep left on this machine, and return the number of trials enqueued again.

    A trial that finished without its sweep keeps its figure, and is not run again.
    """
    again = 0
    for trial in study.abandoned():
        folder = study.folder_of(trial)
        end_processes(folder)
        record = run_record(folder)
        value = reached(record, study.spec.metric, folder)
        if record.get("status") == "finished" and not math.isnan(value):
            study.note(trial, "run", record.get("id", ""))
            study.finished(trial, value)
        else:
            study.lost(trial, "the sweep was killed")
            again += 1
    return again


def run_trial(study: Study, trial: Trial, config: Config, stop: threading.Event) -> str:
    """Run one trial, record its result, and return the result as text."""
    folder = study.folder_of(trial)
    folder.mkdir(parents=True, exist_ok=True)
    args_file, config = folder / "args.json", flattened(config)
    write_atomic(args_file, json.dumps(config, indent=2) + "\n")
    environment = {key: value for key, value in os.environ.items() if key not in ("VELM_RUN_ID", WAITS, LOOKS)}
    environment |= {MARK: str(folder)} | ({WAITS: "1"} if study.spec.early else {})
    environment |= {LOOKS: study.spec.looks} if study.spec.looks else {}
    words = study.spec.words(config, args_file)
    with (folder / "log.txt").open("wb") as log:
        try:
            process = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        except OSError as error:
            study.failed(trial, f"{words[0]}: {error.strerror}")
            return f"failed: {words[0]}: {error.strerror}"
        watch(study, trial, process, folder, stop)
    if stop.is_set() and process.returncode != 0:
        study.lost(trial, "the sweep was stopped")
        return "stopped"
    return _ended(study, trial, process.returncode, folder)


def watch(study: Study, trial: Trial, process: subprocess.Popen[bytes], folder: Path, stop: threading.Event) -> None:
    """Report each evaluation of a trial and write the decision to continue; kill the trial if the sweep is stopped."""
    reported = 0
    while True:
        over = process.poll() is not None
        for number, value in list(_new_values(folder, study.spec.metric, reported)):
            reported = number
            trial.report(value, number)
            end = study.spec.early is not None and not math.isnan(value) and trial.should_prune()
            write_atomic(folder / f"verdict-{number}", "stop" if end else "go")
        if over:
            return
        if stop.is_set():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            end_processes(folder)
            process.wait()
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)


def _new_values(folder: Path, metric: str, start: int) -> Iterator[tuple[int, float]]:
    """Yield the number and value of each new evaluation, NaN if the program of the trial has written none."""
    lines: list[str] = []
    with suppress(OSError, ValueError):
        lines = text_of(folder / "values.jsonl").split("\n")[:-1]  # the last line may be incomplete
    for number, line in enumerate(lines[start:], start + 1):
        yield number, _figure(line, metric)


def _figure(line: str, metric: str) -> float:
    return _number(lambda: json.loads(line)[metric])


def _number(read: Callable[[], Any]) -> float:
    """Return a number that the program of a trial has written, NaN if it is none; any program may write any value."""
    try:
        return float(read())
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return math.nan


def _ended(study: Study, trial: Trial, code: int, folder: Path) -> str:
    record = run_record(folder)
    trial.set_user_attr("run", record.get("id", ""))
    status = record.get("status")
    if code < 0:
        study.lost(trial, f"killed by signal {-code}")
        return f"killed by signal {-code}"
    if code == 0 and status == "pruned":
        study.pruned(trial)
        return "stopped early"
    value = reached(record, study.spec.metric, folder)
    if code or status != "finished" or math.isnan(value):
        error = _tail(folder / "log.txt") if code else f"its run is {status}, {study.spec.metric} {value}"
        study.failed(trial, f"exit code {code}: {error}")
        return f"failed with exit code {code}: {error.splitlines()[-1] if error else ''} (see {folder / 'log.txt'})"
    study.finished(trial, value)
    return f"{study.spec.metric} {value:.4f}"


def run_record(folder: Path) -> dict[str, Any]:
    """Return the ``run.json`` of a trial's run, empty if there is none that can be read."""
    run = run_folder(folder)
    return read_record(run) if run else {}


def run_folder(folder: Path) -> Path | None:
    """Return the folder of a trial's run, or None if it has not started one."""
    with suppress(OSError, ValueError):
        return Path(text_of(folder / "run", _LONGEST_PATH))
    return None


def reached(record: dict[str, Any], metric: str, folder: Path) -> float:
    """Return the figure of the run's best checkpoint, or the last reported figure if there is none."""
    split, _, name = metric.partition("/")
    value = _number(lambda: record["scores"][split][name])
    reported = [value for _, value in _new_values(folder, metric, 0)]
    return reported[-1] if math.isnan(value) and reported else value


def _tail(path: Path, lines: int = 8) -> str:
    return "\n".join(path.read_text("utf-8", errors="replace").strip().splitlines()[-lines:])

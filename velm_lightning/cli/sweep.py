"""``velm sweep``: run a sweep file in the format of W&B, with Optuna on this machine or with W&B."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError


def main(words: Sequence[str]) -> int:
    """Run, show or rehearse a sweep; the exit code is 1 if no trial has a figure."""
    options = _parser().parse_args(list(words)[1:])
    if options.workers < 1:
        raise InputError(f"--workers {options.workers}: give at least 1")
    from velm_lightning.sweep.spec import read_spec

    spec = read_spec(options.file)
    specs = spec.split(options.per) if options.per else [spec]
    if options.dry:
        from velm_lightning.sweep.show import rehearse

        for one in specs:
            rehearse(one)
        return 0
    if not options.show and _by_wandb(options):
        return _wandb(options)
    from velm_lightning.sweep.show import show
    from velm_lightning.sweep.study import Study

    folder = options.folder / spec.name
    storage = options.storage or f"sqlite:///{folder}/sweep.db"
    studies = [Study(one, storage, folder) for one in specs]
    if not options.show:
        for study in studies:
            _run(study, options.workers)
    return 0 if all([show(study) for study in studies]) else 1


def _run(study: Any, workers: int) -> None:
    """Run a study with several workers; an interrupt stops their trials, which are enqueued again."""
    from velm_lightning.sweep.worker import recover, work

    again = recover(study)
    if again:
        print(f"{again} trials of a sweep that was killed are run again")
    stop = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(work, study, stop) for _ in range(workers)]
        try:
            for one in working:
                one.result()
        except KeyboardInterrupt:
            print("stopping: the same command goes on from here", file=sys.stderr)
            stop.set()
    if stop.is_set():
        raise SystemExit(130)


def _by_wandb(options: argparse.Namespace) -> bool:
    """Return whether W&B decides on the trials: if it is asked to, or by default with a W&B login."""
    if options.engine != "auto":
        return bool(options.engine == "wandb")
    from velm_lightning.io.wandb_service import logged_in

    return not (options.per or options.storage) and logged_in()


def _wandb(options: argparse.Namespace) -> int:
    """Create the sweep at W&B from the file, and run its trials with the agent of W&B."""
    import wandb
    import yaml

    if options.per or options.storage:
        raise InputError("--engine wandb: --per and --storage are Optuna's: leave them out")
    found = yaml.safe_load(options.file.read_text("utf-8"))
    project = options.project or found.get("project") or str(found.get("name", options.file.stem))
    ident = wandb.sweep(found, project=project)
    path = "/".join(filter(None, (found.get("entity"), project, ident)))
    print(f"W&B sweep: {path}")
    agents = [subprocess.Popen([sys.executable, "-m", "wandb", "agent", path]) for _ in range(options.workers)]
    return max(abs(agent.wait()) for agent in agents)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm sweep",
        description="Run a sweep file of W&B's format: with a W&B login on W&B's server, else with Optuna and SQLite. "
        "The same command goes on with a sweep that was stopped or killed.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a sweep file, as sweeps/vqa_fusion.yaml")
    parser.add_argument(
        "--engine", choices=["auto", "optuna", "wandb"], default="auto", help="which optimizer chooses the next trial"
    )
    parser.add_argument("--workers", type=int, default=1, help="trials at a time on this machine (1)")
    parser.add_argument("--per", metavar="KEY", help="one sweep per value of this parameter, each of run_cap trials")
    parser.add_argument(
        "--show", action="store_true", help="show the trials and the importance of parameters; run nothing"
    )
    parser.add_argument("--dry", action="store_true", help="print the commands; run nothing")
    parser.add_argument("--storage", help="Optuna's storage for several machines: a database URL, or a journal file")
    parser.add_argument("--folder", type=Path, default=Path("runs") / "sweeps", help="where the sweep is kept")
    parser.add_argument("--project", help="W&B project")
    return parser

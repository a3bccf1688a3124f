"""``velm sweep``: runs a sweep file in W&B's format with Optuna on this machine, or with W&B."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velm_lightning.cli.sweep.until import add_options, run_stages, with_looks
from velm_lightning.errors import InputError
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path

if TYPE_CHECKING:
    from velm_lightning.sweep.spec import Spec

_SQLITE = "sqlite:///"


def main(words: Sequence[str]) -> int:
    """Run, show or preview a sweep; the exit code is 1 if no trial has a score."""
    options = _parser().parse_args(list(words)[1:])
    if options.workers < 1:
        raise InputError(f"--workers must be at least 1, got {options.workers}")
    from velm_lightning.sweep.program import check_program
    from velm_lightning.sweep.spec_file import read_spec

    spec = read_spec(options.sweep)
    if options.until:
        spec = with_looks(spec, options)
    if spec.match or spec.tune or spec.looks:
        return _staged(spec, options)
    specs = spec.split(options.per) if options.per else [spec]
    if options.dry:
        from velm_lightning.sweep.show import rehearse

        for part in specs:
            rehearse(part)
        return 0
    if not options.show:
        check_program(spec)
    if not options.show and _by_wandb(options):
        return _wandb(options)
    from velm_lightning.sweep.show import show
    from velm_lightning.sweep.study import Study

    folder = options.folder / spec.name
    storage = options.storage or f"sqlite:///{folder}/sweep.db"
    studies = [Study(part, storage, folder) for part in specs]
    if not options.show:
        for study in studies:
            _run(study, options.workers)
    return 0 if all([show(study) for study in studies]) else 1


def _staged(spec: Spec, options: argparse.Namespace) -> int:
    """Run, show or preview a sweep in stages: equal budgets, a search for each arm, then its grid or seeds in turns."""
    if options.per or options.engine == "wandb":
        given = "--per" if options.per else "--engine wandb"
        raise InputError(f"{spec.name}: match, tune and --until do not go with {given}: remove it, or them")
    from velm_lightning.sweep.program import check_program
    from velm_lightning.sweep.show import rehearse, show
    from velm_lightning.sweep.stages import tuning, with_budgets, with_choices
    from velm_lightning.sweep.until import stages

    if options.dry:
        for part in [*([tuning(spec)] if spec.tune else []), *(stages(spec) if spec.looks else [spec])]:
            rehearse(part)
        return 0
    from velm_lightning.sweep.study import Study

    folder = options.folder / spec.name
    storage = options.storage or f"sqlite:///{folder}/sweep.db"
    if not options.show:
        check_program(spec)
        spec = with_budgets(spec, folder)
    if spec.tune:
        first = Study(tuning(spec), storage, folder)
        if not options.show:
            _run(first, options.workers)
        show(first)
        spec = spec if options.show else with_choices(spec, first)
    if spec.looks and not options.show:
        return 0 if _until(spec, options, storage) else 1
    if spec.looks:
        return 0 if any([show(Study(stage, storage, folder)) for stage in stages(spec)]) else 1
    study = Study(spec, storage, folder)
    if not options.show:
        _run(study, options.workers)
    return 0 if show(study) else 1


def _until(spec: Spec, options: argparse.Namespace, storage: str) -> bool:
    """Add seeds until all pairs are decided; return whether any run has a score."""
    from velm_lightning.sweep.study import Study

    folder = options.folder / spec.name
    return run_stages(
        spec,
        folder,
        lambda stage: Study(stage, storage, folder),
        lambda study: _run(study, options.workers),
        options.rope,
    )


def _run(study: Any, workers: int) -> None:
    """Run a study with several workers; an interrupt stops their trials and queues them again."""
    from velm_lightning.sweep.progress import Progress
    from velm_lightning.sweep.worker import recover, work

    again = recover(study)
    if again:
        echo(f"running {again} trials again that were cut off")
    stop, progress = threading.Event(), Progress(study, workers)
    with ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(work, study, stop, progress.ended) for _ in range(workers)]
        try:
            for future in working:
                future.result()
        except KeyboardInterrupt:
            echo("stopping: the same command continues the sweep", file=sys.stderr)
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
    """Create the sweep on W&B's server and run W&B's own agents."""
    import wandb

    from velm_lightning.io.wandb_service import check_settings_file
    from velm_lightning.io.yaml_files import read_yaml

    if options.per or options.storage:
        raise InputError("--engine wandb does not take --per and --storage, which are Optuna's: remove them")
    check_settings_file()
    content = read_yaml(options.sweep)
    project = options.project or content.get("project") or str(content.get("name", options.sweep.stem))
    ident = wandb.sweep(content, project=project)
    path = "/".join(filter(None, (content.get("entity"), project, ident)))
    echo(f"W&B sweep: {path}")
    agents = [subprocess.Popen([sys.executable, "-P", "-m", "wandb", "agent", path]) for _ in range(options.workers)]
    return max(abs(agent.wait()) for agent in agents)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm sweep",
        description="Run a sweep file in W&B's format: with a W&B login on W&B's server, else with Optuna and SQLite. "
        "The same command continues a sweep that was stopped or killed.",
    )
    parser.add_argument("sweep", type=user_path, metavar="FILE", help="a sweep file, e.g. sweeps/vqa_fusion.yaml")
    parser.add_argument(
        "--engine", choices=["auto", "optuna", "wandb"], default="auto", help="optimiser that chooses the trials"
    )
    parser.add_argument("--workers", type=int, default=1, help="parallel trials on this machine (default 1)")
    parser.add_argument("--per", metavar="KEY", help="one sweep per value of this parameter, each of run_cap trials")
    parser.add_argument(
        "--show", action="store_true", help="show the trials and the importance of the parameters; run nothing"
    )
    parser.add_argument("--dry", action="store_true", help="print the commands; run nothing")
    parser.add_argument(
        "--storage", type=_storage, help="Optuna's storage for several machines: a database URL, or a journal file"
    )
    parser.add_argument("--folder", type=user_path, default=Path("runs") / "sweeps", help="folder of the sweeps")
    parser.add_argument("--project", help="W&B project")
    add_options(parser)
    return parser


def _storage(text: str) -> str:
    """Return a database URL or the path of a journal, with ``~`` expanded in the path of a file."""
    if text.startswith(_SQLITE):
        return f"{_SQLITE}{user_path(text.removeprefix(_SQLITE))}"
    return text if "://" in text else str(user_path(text))

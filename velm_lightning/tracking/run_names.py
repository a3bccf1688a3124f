"""Finds a run by the name that a user gives: a folder, an id, a checkpoint, or ``latest``; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from velm_lightning.errors import InputError
from velm_lightning.io.plain import MOST_RECORD, text_of

LATEST = "latest"


def find_run(name: str | Path, runs: str | Path = "runs") -> Path:
    """Return the folder of a run.

    Args:
        name: The run's folder or a file in it, a checkpoint, an id (or a part that only one id has), ``latest`` for
            the run that was started last, or ``EXPERIMENT/latest``.
        runs: Folder of all runs.

    Raises:
        InputError: No run or several runs have that name.
    """
    text, path = str(name), Path(name)
    if path.exists() and path.name != LATEST:
        return _folder_of(path)
    if path.name == LATEST:
        return _latest(text, Path(runs))
    folders = list(run_folders(runs))
    exact = [folder for folder in folders if text in (folder.name, f"{folder.parent.name}/{folder.name}")]
    matches = exact or [folder for folder in folders if text in folder.name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        named = ", ".join(folder.name for folder in matches[:3])
        raise InputError(f"{len(matches)} runs in {runs} are named {text!r}, such as {named}: give the whole id")
    near = get_close_matches(text, [folder.name for folder in folders], 1)
    hint = f"did you mean {near[0]!r}?" if near else "`velm runs` lists the runs; give a folder, an id or `latest`"
    raise InputError(f"there is no run, folder or checkpoint {text!r} here or in {runs}: {hint}")


def find_checkpoint(name: str | Path, runs: str | Path = "runs") -> Path:
    """Return a checkpoint file: the one named, or the best of the named run, or its last if none was evaluated.

    Args:
        name: A ``.ckpt`` file, which may be outside of a run's folder, or a run as for ``find_run``.
        runs: Folder of all runs.

    Raises:
        InputError: As ``find_run``, or the run has no checkpoint.
    """
    if Path(name).is_file() and Path(name).suffix not in (".yaml", ".json"):
        return Path(name)
    if str(name).endswith(".ckpt"):
        near = sorted(path.name for path in Path(name).parent.glob("*.ckpt"))
        hint = f"{Path(name).parent} has {', '.join(near[:3])}" if near else "name a file, a run's folder or `latest`"
        raise InputError(f"checkpoint {name} does not exist: {hint}")
    folder = find_run(name, runs)
    files = [folder / "checkpoints" / f"{kind}.ckpt" for kind in ("best", "last")]
    if (file := next((file for file in files if file.is_file()), None)) is None:
        status = read_record(folder).get("status", "unknown")
        raise InputError(f"{folder} (status {status!r}) has no checkpoint: name another run; `velm runs` lists them")
    return file


def run_folders(runs: str | Path = "runs") -> Iterator[Path]:
    """Yield the folder of each run below ``runs``, in the order of their names."""
    yield from (path.parent for path in sorted(Path(runs).glob("*/*/run.json")))


def read_record(folder: Path) -> dict[str, Any]:
    """Return the content of a run's ``run.json``; empty if it cannot be read."""
    try:
        record = json.loads(text_of(folder / "run.json", MOST_RECORD))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _folder_of(path: Path) -> Path:
    """Return the run that a path belongs to."""
    places = (path, *path.absolute().parents[:3])
    folder = next((place for place in places if (place / "run.json").is_file()), None)
    if folder is not None:
        return folder
    inside = [file.parent for file in sorted(path.glob("*/run.json"))]
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise InputError(f"{path} holds {len(inside)} runs: name one, or {path.name}/{LATEST}")
    raise InputError(f"{path} is not in the folder of a run (no run.json): name the folder of a run")


def _latest(text: str, runs: Path) -> Path:
    """Return the run that was started last, of one experiment or of all."""
    experiment = Path(text).parent.name
    folders = [folder for folder in run_folders(runs) if experiment in ("", folder.parent.name)]
    if not folders:
        place = runs / experiment if experiment else runs
        raise InputError(f"{text}: {place} holds no runs: train one with `velm fit`, or name its folder")
    return max(folders, key=lambda folder: (str(read_record(folder).get("started") or ""), folder.stat().st_mtime_ns))

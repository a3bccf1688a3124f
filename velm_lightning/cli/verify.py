"""``velm verify``: compute every reported figure of a run anew from its stored predictions."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from velm_lightning.io.configurable import build
from velm_lightning.io.files import read_text
from velm_lightning.tasks.base import Task
from velm_lightning.tasks.floors import constant
from velm_lightning.tasks.rows import group_scores, sizes
from velm_lightning.tracking.run import Run
from velm_lightning.types import InputError, Prediction

TOLERANCE = 1e-9


class Figure(NamedTuple):
    """One reported figure and what the predictions give; NaN where one of them is missing."""

    split: str
    name: str
    reported: float
    computed: float

    @property
    def agrees(self) -> bool:
        """Whether they are the same."""
        return _same(self.reported, self.computed)


def verify(folder: Path, allow: Sequence[str] = ()) -> list[Figure]:
    """Compute the figures of a run anew: every sample is scored again from its prediction and its references.

    Args:
        folder: the run.
        allow: packages besides this one whose classes the run may name.

    Raises:
        InputError: there is no finished evaluation in the folder, or its predictions cannot be read.
    """
    run = Run(folder)
    if not run.record.get("scores"):
        raise InputError(f"{folder} holds no evaluated run: give a folder with run.json and predictions")
    return [figure for split in run.record["scores"] for figure in _figures(run, split, _task(run, split, allow))]


def _task(run: Run, split: str, allow: Sequence[str]) -> Task:
    """Return the task by which an evaluation was scored; runs of earlier versions keep only that of the training."""
    model = run.record.get("evaluations", {}).get(split, run.record).get("model")
    task: Task = build(model["init_args"]["task"], allow)
    return task


def _figures(run: Run, split: str, task: Task) -> Iterator[Figure]:
    stored = read_rows(run.folder / "predictions" / f"{split}.jsonl")
    rows = task.score([row._replace(score=math.nan) for row in stored])
    reported = dict(run.record["scores"][split])
    computed = {**task.compute_metrics(rows), **sizes(rows)}
    groups = run.record.get("groups", {}).get(split, {})
    reported |= {f"score · {name}": value for name, value in groups.items()}
    computed |= {f"score · {name}": score for name, (_, score) in group_scores(rows).items()}
    for name, floor in run.record.get("floors", {}).get(split, {}).items():
        if "answer" in floor:
            known = {figure: value for figure, value in floor.items() if isinstance(value, int | float)}
            again = task.compute_metrics(constant(task, rows, floor["answer"]))
            reported |= {f"{name} · {figure}": value for figure, value in known.items() if figure in again}
            computed |= {f"{name} · {figure}": again[figure] for figure in known if figure in again}
    for name in dict.fromkeys([*reported, *computed]):
        yield Figure(split, name, reported.get(name, math.nan), computed.get(name, math.nan))
    odd = [new.key for old, new in zip(stored, rows, strict=True) if not _same(old.score, new.score)]
    yield Figure(split, f"samples with another score{f', as {odd[0]}' if odd else ''}", 0, len(odd))


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(a) and math.isnan(b))


def read_rows(path: Path) -> list[Prediction]:
    """Read a file of predictions.

    Raises:
        InputError: it is missing, or a line is no row.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: was it moved?")
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line:
            continue
        try:
            found = json.loads(line)
            whole = {name: math.nan if found[name] is None else found[name] for name in ("score", "confidence", "loss")}
            rows.append(Prediction(**found | whole | {"references": tuple(found["references"] or ())}))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{path}:{number}: is no prediction: {error}") from error
    return rows


def main(words: Sequence[str]) -> int:
    """Print a table of figures; the exit code is 1 where one does not agree."""
    parser = argparse.ArgumentParser("velm verify", description="Compute a run's figures anew from its predictions.")
    parser.add_argument("run", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--allow", nargs="*", default=[], help="packages whose classes a run may name")
    options = parser.parse_args(list(words)[1:])
    wrong = 0
    for folder in options.run:
        figures = verify(folder, options.allow)
        table = Table("split", "figure", "reported", "computed", "", title=str(folder), title_justify="left")
        for one in figures:
            said = "agrees" if one.agrees else "[bold red]differs[/]"
            table.add_row(one.split, one.name, f"{one.reported:.10g}", f"{one.computed:.10g}", said)
        Console().print(table)
        differ = sum(not one.agrees for one in figures)
        print(f"{folder}: {len(figures) - differ} of {len(figures)} figures agree with the stored predictions")
        wrong += differ
    return 1 if wrong else 0

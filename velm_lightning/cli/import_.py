"""``velm import``: makes a run folder out of the predictions of any other system."""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Sequence
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velm_lightning.cli.start.hints import no_file
from velm_lightning.errors import InputError
from velm_lightning.io.console import echo
from velm_lightning.io.files import interpreting
from velm_lightning.io.paths import user_path
from velm_lightning.io.plain import text_of

if TYPE_CHECKING:
    from velm_lightning.importing.rows import Imported
    from velm_lightning.tasks.base import Task

FORMATS = "velm_lightning.importing.formats"
_HELP = ": score them again by --score exact, vqa or captions, or by --like RUN"


def main(words: Sequence[str]) -> int:
    """Import a file; returns exit code 0."""
    options = _parser().parse_args(list(words)[1:])
    _check(options)
    from velm_lightning.importing.folder import System, write_run, write_thumbnails
    from velm_lightning.importing.pictures import thumbnail_lines
    from velm_lightning.importing.reference_run import ReferenceRun
    from velm_lightning.importing.rows import Choices
    from velm_lightning.tracking.run_names import find_run

    like = ReferenceRun.of(find_run(options.like), options.split) if options.like else None
    choices = Choices(options.figure, options.filter, options.group, options.image, tuple(options.references))
    module: Any = import_module(f"{FORMATS}.{options.format.replace('-', '_')}")
    with interpreting(options.file, options.format):
        imported: Imported = module.read(options.file, choices)
    task = like.task if like else _task(imported, options)
    pictures = thumbnail_lines(imported.repeats[0], options.images) if options.images else _pictures(like)
    source = {"format": options.format, "file": options.file.name, "sha256": _digest(options.file)}
    for repeat, rows in enumerate(imported.repeats):
        scored = like.scored(rows) if like else task.score(rows)
        if all(math.isnan(row.score) for row in scored):
            raise InputError(f"{options.file}: no sample has a score{_HELP}")
        run = write_run(
            options.out, System(options.name, options.seed + repeat, source), options.split, scored, task, like
        )
        if pictures:
            write_thumbnails(run, options.split, pictures)
        figures = run.scores[options.split]
        unscored = sum(row.score != row.score for row in scored)
        missing = f", {unscored} without a score" if unscored else ""
        echo(f"{run.folder}: {len(scored):,} samples{missing}, score {figures.get('score', float('nan')):.4f}")
    return 0


def _task(imported: Imported, options: argparse.Namespace) -> Task:
    """Return the task that scores the rows: the tool's scores unless a scorer is asked for or prescribed.

    Raises:
        InputError: The rows have neither scores nor references.
    """
    from velm_lightning.importing.scoring import SCORERS, GivenScores
    from velm_lightning.tasks.generation import Generation

    scorer = options.score or ("" if imported.figure else imported.scorer)
    if scorer:
        if not any(row.references for row in imported.repeats[0]):
            raise InputError(f"{options.file}: no sample has references to score against: add them, or --like RUN")
        return Generation(scorer=SCORERS[scorer]())
    if not imported.figure:
        raise InputError(f"{options.file}: the samples have no score{_HELP}")
    return Generation(scorer=GivenScores(imported.figure, options.format))


def _pictures(like: Any) -> str:
    """Return the thumbnails of the run whose samples were imported, empty if it has none."""
    path = like.folder / "predictions" / f"{like.split}.pictures.jsonl" if like else None
    if path is None or not path.exists():
        return ""
    with interpreting(path, "thumbnails"):
        return text_of(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _check(options: argparse.Namespace) -> None:
    for path in (options.file, *options.references):
        if not path.is_file():
            raise InputError(f"velm import: {no_file(path)}")
    if not options.name.strip():
        raise InputError("--name is empty: give the method a name")
    if options.seed < 0:
        raise InputError(f"--seed must be at least 0, got {options.seed}")
    if options.like and (options.score or options.references):
        raise InputError("--like takes references and scorer from the run: remove --score and --references")


def formats() -> list[str]:
    """Return the values of ``--as``: the modules of the readers."""
    names = (path.name.removesuffix(".py") for path in files(FORMATS).iterdir() if path.name.endswith(".py"))
    return sorted(name.replace("_", "-") for name in names if name != "__init__")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm import",
        description="Make a run folder out of the predictions of any system, for `velm compare` and `velm verify`. The "
        "scores are those of the file unless --score or --like computes them again. Samples are paired by their keys.",
    )
    path: dict[str, Any] = {"type": user_path, "metavar": "FILE"}
    parser.add_argument("file", **path, help="predictions: a log, a table or a results file")
    parser.add_argument("--as", dest="format", required=True, choices=formats(), help="the format of the file")
    parser.add_argument("--name", required=True, metavar="METHOD", help="name of the method; its seeds share it")
    parser.add_argument("--seed", type=int, default=0, help="seed of its training or sampling (default 0)")
    parser.add_argument("--out", type=user_path, required=True, metavar="DIR", help="folder that gets the run's folder")
    parser.add_argument("--split", default="test", metavar="NAME", help="name of the evaluated split (default test)")
    parser.add_argument(
        "--references",
        **path,
        action="append",
        default=[],
        help="captions, or annotations and questions; may be repeated",
    )
    parser.add_argument(
        "--score",
        choices=["exact", "vqa", "captions"],
        help="score predictions against references; default: the file's",
    )
    parser.add_argument(
        "--like", metavar="RUN", help="take references, groups, images and scorer from this run, by key"
    )
    parser.add_argument("--figure", metavar="NAME", help="the tool's metric, scorer or column to take as the score")
    parser.add_argument("--filter", metavar="NAME", help="the answer filter, if a log has several")
    parser.add_argument("--group", metavar="FIELD", help="field of a sample that names its group")
    parser.add_argument("--image", metavar="FIELD", help="field of a sample that names its image")
    parser.add_argument("--images", type=user_path, metavar="DIR", help="folder of the images, for the gallery")
    return parser

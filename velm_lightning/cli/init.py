"""``velm init``: looks at a data file and writes a config for it; imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from velm_lightning.cli.start.proposal import check_columns, propose
from velm_lightning.cli.start.recipe import recipe
from velm_lightning.cli.start.starting import find_start
from velm_lightning.cli.start.tasks import TASKS
from velm_lightning.cli.start.weights import find_weights
from velm_lightning.errors import InputError
from velm_lightning.io.console import command, echo, printable
from velm_lightning.io.paths import is_folder_name, user_path


def main(words: Sequence[str]) -> int:
    """Write a config for a table, and print what it holds and the next commands; the exit code is 0."""
    options = _parser().parse_args(list(words)[1:])
    target: Path = options.out or Path(f"{options.file.stem}.yaml")
    if options.file.exists() and target.exists() and not options.force:
        raise InputError(f"{target} exists: add --force to replace it, or name another file with --out")
    if not is_folder_name(target.stem):
        raise InputError(f"{target}: the experiment would be named {target.stem!r}: name another file with --out")
    proposal = propose(options.file, options.images, options.task)
    for extra in (options.val, options.test):
        if extra is not None:
            check_columns(extra, proposal)
    files = {"train": options.file, "val": options.val, "test": options.test}
    weights = find_weights()
    start = find_start(options.init_from) if options.init_from else None
    config, notes = recipe(proposal, target.stem, files, weights, start)
    columns = ", ".join(f"{part}: {name}" for part, name in proposal.columns.items())
    echo(f"{options.file}: {proposal.rows:,} rows, {proposal.pictures:,} images, columns {columns}")
    echo(f"task: {proposal.task}")
    for note in notes:
        echo(note)
    fit = command("velm", "fit", target, *(["--allow-network"] if weights.download else []))
    _write(target, config, [f"{proposal.task.capitalize()}, proposed by `velm init`.", f"  {fit}", *notes])
    echo(f"wrote {target}; next:\n  {command('velm', 'data', 'check', target)}\n  {fit}")
    return 0


def _write(target: Path, config: dict[str, object], comments: Sequence[str]) -> None:
    """Write a config below comments, each line of which is one, for the names of files may have several lines."""
    from velm_lightning.io.atomic import write_atomic
    from velm_lightning.io.yaml_files import dump_yaml

    head = "".join(f"# {printable(line)}\n" for comment in comments for line in comment.splitlines())
    write_atomic(target, head + dump_yaml(config))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm init",
        description="Look at a table of samples (CSV, TSV, JSON lines or a JSON list), propose task, encoders and "
        "settings, and write them as a config.",
        epilog="example: velm init posts.csv --images photos/",
    )
    parser.add_argument("file", type=user_path, help="the training samples, one per row")
    parser.add_argument("--images", type=user_path, metavar="DIR", help="folder of the images; by default searched")
    parser.add_argument(
        "--val", type=user_path, metavar="FILE", help="validation samples; by default some are held out"
    )
    parser.add_argument("--test", type=user_path, metavar="FILE", help="test samples")
    parser.add_argument("--task", choices=TASKS, help="by default what the columns propose")
    parser.add_argument("--init-from", metavar="RUN", help="run whose model and weights training starts from")
    parser.add_argument("--out", type=user_path, metavar="FILE", help="config to write; by default named as the table")
    parser.add_argument("--force", action="store_true", help="replace an existing config")
    return parser

"""``velm compare``: compares finished runs; imports neither torch nor the models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from velm_lightning.errors import InputError
from velm_lightning.io.atomic import write_output
from velm_lightning.io.console import echo
from velm_lightning.io.paths import user_path


def main(words: Sequence[str]) -> int:
    """Compare runs, print the comparison, and write it to the files that the options name; returns exit code 0."""
    options = _parser().parse_args(list(words)[1:])

    from velm_lightning.compare.comparing import compare
    from velm_lightning.compare.modality_reliance import estimate
    from velm_lightning.compare.reading import read_runs
    from velm_lightning.compare.tables import print_tables
    from velm_lightning.compare.views.exports import latex, markdown, table_of_runs
    from velm_lightning.io.terminal import Console

    runs, skipped = read_runs(places(options.runs, options.fetched), drawn=bool(options.html))
    estimate(runs, options.watts, options.price)
    comparison = compare(runs, skipped, options.split, options.controls, options.metric, options.rope)
    print_tables(comparison, Console())
    for path, make in ((options.markdown, markdown), (options.csv, table_of_runs), (options.latex, latex)):
        if path:
            write_output(path, make(comparison))
    if options.report:
        from velm_lightning.compare.views.report import send

        echo(f"report: {send(comparison, options.report, options.title)}")
    if options.curve:
        from velm_lightning.compare.views.meeting_curve import draw_curve

        draw_curve(comparison, options.curve)
        echo(f"curve: {options.curve}")
    if options.html:
        from velm_lightning.compare.page import page

        write_output(options.html, page(comparison, options.title, options.html.parent))
        echo(f"dashboard: {options.html}")
    return 0


def places(names: Sequence[str], fetched: Path) -> list[Path]:
    """Return the paths that shell patterns match and the folders of runs fetched from W&B projects."""
    from velm_lightning.compare.reading.remote import PREFIX, fetch

    paths = []
    for name in names:
        if name.startswith(PREFIX):
            paths.append(fetch(name, fetched))
        else:
            pattern = str(user_path(name))
            paths += [Path(match) for match in sorted(glob(pattern))] or [_run(pattern)]
    return paths


def _run(name: str) -> Path:
    """Return the folder of a run that is named by its id or ``latest``, or the name as a path."""
    from velm_lightning.tracking.run_names import find_run

    try:
        return find_run(name)
    except InputError:
        if Path(name).name == "latest":
            raise
        return Path(name)  # the reader says that there is no such place


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm compare",
        description="Compare finished runs: means and 95 % intervals over seeds, paired tests over seeds and images "
        "with Holm's correction, scores by group, costs. Runs that differ only in their seed are one method.",
    )
    add_runs(parser)
    parser.add_argument("--controls", nargs="*", default=[], metavar="CLASS", help="further classes that are controls")
    parser.add_argument("--watts", type=float, help="mean power per device with its share of the machine: adds kWh")
    parser.add_argument("--price", type=float, help="price per device hour: adds the cost of a run")
    parser.add_argument(
        "--rope", type=float, default=0.0, metavar="X", help="adds the probability that a difference is larger than X"
    )
    parser.add_argument("--html", type=user_path, metavar="FILE", help="write a dashboard that works without a network")
    parser.add_argument(
        "--curve", type=user_path, metavar="FILE", help="draw score against meeting depth: a .png, .pdf or .svg file"
    )
    parser.add_argument("--title", default="Comparison of fusions", help="title of dashboard and report")
    parser.add_argument("--report", metavar="ENTITY/PROJECT", help="save a W&B report there (extra `reports`)")
    parser.add_argument("--markdown", type=user_path, metavar="FILE")
    parser.add_argument(
        "--csv", type=user_path, metavar="FILE", help="one line per run, every metric at full precision"
    )
    parser.add_argument("--latex", type=user_path, metavar="FILE", help="tables for booktabs")
    return parser


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose the runs, the split and the metric."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folders or ids of runs, `latest`, experiments, patterns; wandb:entity/project",
    )
    parser.add_argument(
        "--fetched",
        type=user_path,
        default=Path("runs") / "wandb",
        metavar="DIR",
        help="folder for runs fetched from W&B",
    )
    parser.add_argument(
        "--split", metavar="NAME", help="split or evaluation to compare; by default test if all runs have it, else val"
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="metric to compare by; by default the one that the runs monitor"
    )

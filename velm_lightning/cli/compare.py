"""``velm compare``: compare finished runs, without torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from velm_lightning.errors import InputError


def main(words: Sequence[str]) -> int:
    """Compare runs, print the tables, and write the requested files."""
    options = _parser().parse_args(list(words)[1:])
    from rich.console import Console

    from velm_lightning.compare.comparison import compare
    from velm_lightning.compare.modality_reliance import estimate
    from velm_lightning.compare.reading import read_runs
    from velm_lightning.compare.tables import latex, markdown, print_tables, table_of_runs

    runs, left = read_runs(_places(options.runs, options.fetched))
    estimate(runs, options.watts, options.price)
    found = compare(runs, left, options.split, options.controls, options.metric)
    print_tables(found, Console())
    for path, make in ((options.markdown, markdown), (options.csv, table_of_runs), (options.latex, latex)):
        if path:
            write(path, make(found))
    if options.report:
        from velm_lightning.compare.report import send

        print(f"report: {send(found, options.report, options.title)}")
    if options.html:
        from velm_lightning.compare.page import page

        write(options.html, page(found, options.title))
        print(f"dashboard: {options.html}")
    return 0


def _places(names: Sequence[str], fetched: Path) -> list[Path]:
    """Return the folders that names and patterns stand for; runs of W&B are fetched first."""
    from velm_lightning.compare.remote import PREFIX, fetch

    found = []
    for name in names:
        if name.startswith(PREFIX):
            found.append(fetch(name, fetched))
        else:
            found += [Path(match) for match in sorted(glob(name)) or [name]]
    return found


def write(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}): name another file") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm compare",
        description="Compare finished runs: means and 95 % intervals over seeds, paired tests over seeds and images "
        "with Holm's correction, scores by group, costs. Runs that differ only in their seed are one method.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folders of runs, of experiments, or patterns; wandb:entity/project"
    )
    parser.add_argument(
        "--fetched", type=Path, default=Path("runs") / "wandb", metavar="DIR", help="where runs from W&B are kept"
    )
    parser.add_argument(
        "--split", metavar="NAME", help="test if all runs have it, else val; or another evaluation of the runs"
    )
    parser.add_argument("--metric", metavar="NAME", help="the figure to compare by; by default what the runs monitor")
    parser.add_argument("--controls", nargs="*", default=[], metavar="CLASS", help="further models that are controls")
    parser.add_argument("--watts", type=float, help="mean power of a device with its share of the machine: adds kWh")
    parser.add_argument("--price", type=float, help="price of an hour of a device: adds what a run costs")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a dashboard that works without a network")
    parser.add_argument("--title", default="Comparison of fusions", help="title of dashboard and report")
    parser.add_argument("--report", metavar="ENTITY/PROJECT", help="save a W&B report there (extra `reports`)")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="one line per run, all figures in full precision")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="tables for booktabs")
    return parser

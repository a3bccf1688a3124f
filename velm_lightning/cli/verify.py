"""``velm verify``: recompute every reported figure of a run from its stored predictions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from velm_lightning.io.console import echo
from velm_lightning.tracking.run_names import find_run

if TYPE_CHECKING:
    from velm_lightning.inspection.verify import Figure
    from velm_lightning.io.terminal import Console


def show(title: str, figures: Sequence[Figure], console: Console) -> None:
    """Print a table with one row per figure."""
    from velm_lightning.io.terminal import Table, Text

    table = Table("split", "figure", "reported", "computed", "", title=title, title_justify="left")
    for figure in figures:
        verdict = "agrees" if figure.agrees else Text("differs", style="bold red")
        numbers = (f"{value:.10g}" for value in (figure.reported, figure.computed))
        table.add_row(figure.split, figure.name, *numbers, verdict)
    console.print(table)


def main(words: Sequence[str]) -> int:
    """Run ``velm verify``.

    Args:
        words: the command line from ``verify`` on.

    Returns:
        The exit code: 0 if all figures agree, 1 otherwise.
    """
    parser = argparse.ArgumentParser("velm verify", description="Recompute a run's figures from its predictions.")
    parser.add_argument("run", nargs="+", help="runs: folders, ids, checkpoints, or `latest`")
    options = parser.parse_args(list(words)[1:])
    folders = [find_run(name) for name in options.run]
    from velm_lightning.inspection.verify import verify
    from velm_lightning.io.terminal import Console

    wrong = 0
    for folder in folders:
        figures = verify(folder)
        show(str(folder), figures, Console())
        differ = sum(not figure.agrees for figure in figures)
        echo(f"{folder}: {len(figures) - differ} of {len(figures)} figures agree with the stored predictions")
        wrong += differ
    return 1 if wrong else 0

"""``velm power``: computes how many seeds and images tell two methods apart; imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from velm_lightning.cli.compare import add_runs, places
from velm_lightning.errors import InputError


def main(words: Sequence[str]) -> int:
    """Print the table of a comparison; returns exit code 0."""
    options = _parser().parse_args(list(words)[1:])
    if options.gap is not None and not 0 < options.gap < float("inf"):
        raise InputError(f"--gap must be above 0, got {options.gap:g}")
    from velm_lightning.compare.comparing import compare
    from velm_lightning.compare.reading import read_runs
    from velm_lightning.compare.views.power_table import power_sheet
    from velm_lightning.compare.views.sheet import print_sheet
    from velm_lightning.io.terminal import Console, Text

    runs, skipped = read_runs(places(options.runs, options.fetched))
    comparison = compare(runs, skipped, options.split, (), options.metric)
    if not comparison.pairs:
        raise InputError("there is one method: give the runs of at least two methods on the same data")
    console = Console()
    print_sheet(power_sheet(comparison, options.gap), console)
    for left in comparison.left:
        console.print(Text(f"left out: {left.folder}: {left.why}"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm power",
        description="How many seeds and images tell two methods apart with 80 % power, from the variance over seeds, "
        "images and single answers of the runs at hand; and the difference that would be found now.",
    )
    add_runs(parser)
    parser.add_argument("--gap", type=float, help="the difference to tell apart; default one point: 0.01, or 1 of 100")
    return parser

"""``velm probe``: measure how much the score of a run depends on image and text, and where it reads the image."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velm_lightning.errors import InputError
from velm_lightning.io.atomic import write_atomic
from velm_lightning.io.console import echo
from velm_lightning.tracking.run_names import find_checkpoint, find_run

if TYPE_CHECKING:
    from velm_lightning.data import MultimodalData
    from velm_lightning.fusion import Fusion
    from velm_lightning.inspection.knockout import Knockout, Outcome
    from velm_lightning.inspection.probe import Probe
    from velm_lightning.io.terminal import Console


def save(result: Probe, folder: Path) -> None:
    """Write ``probe.json`` into a run's folder."""
    plain: dict[str, Any] = result._asdict()
    plain["shuffled"] = {modality: shuffled._asdict() for modality, shuffled in result.shuffled.items()}
    write_atomic(folder / "probe.json", json.dumps(plain, indent=2) + "\n")


def show(result: Probe, console: Console) -> None:
    """Print a table with one row per modality; the name of the split is never read as rich markup."""
    from velm_lightning.io.terminal import Table

    title = f"score on {result.samples} samples of {result.split}: {result.score:.4f}"
    table = Table(title=title, title_justify="left")
    shares = (f"{share:.0%} missing" for share in result.shares[1:])
    for name in ("", "shuffled", "costs", "share of the score", *shares):
        table.add_column(name, justify="right" if name else "left", no_wrap=name == "shuffled")
    for modality, shuffled in result.shuffled.items():
        mean = math.fsum(shuffled.scores) / len(shuffled.scores)
        values = [f"{mean:.4f}", f"{shuffled.cost:.4f}", f"{shuffled.perceptual:.1%}"]
        table.add_row(modality, *values, *(f"{value:.4f}" for value in result.missing[modality][1:]))
    console.print(table)
    for modality, shuffled in result.shuffled.items():
        if shuffled.unchanged:
            console.print(
                f"note: {shuffled.unchanged} of {result.samples} samples keep their {modality} when shuffled, because "
                "most samples share it: the cost is a lower bound"
            )


def save_knockout(result: Knockout, folder: Path) -> None:
    """Write ``knockout.json`` into a run's folder."""
    plain: dict[str, Any] = result._asdict() | {
        "unchanged": result.unchanged._asdict(),
        "everywhere": result.everywhere._asdict(),
        "windows": [window._asdict() | {"outcome": window.outcome._asdict()} for window in result.windows],
    }
    write_atomic(folder / "knockout.json", json.dumps(plain, indent=2) + "\n")


def show_knockout(result: Knockout, console: Console) -> None:
    """Print a table with one row per window of layers: score and confidence, over all samples and by group."""
    from velm_lightning.io.terminal import Table

    groups = list(result.unchanged.groups)
    title = (
        f"score (confidence) on {result.samples} samples of {result.split} if words do not attend to the image in "
        f"these of {result.layers} layers"
    )
    table = Table("layers", "all samples", *groups, title=title, title_justify="left")
    for name, outcome in _outcomes(result):
        cells = [(outcome.score, outcome.confidence), *(outcome.groups.get(group, (math.nan,) * 2) for group in groups)]
        table.add_row(name, *(f"{score:.4f} ({confidence:.3f})" for score, confidence in cells))
    console.print(table)


def _outcomes(result: Knockout) -> Iterator[tuple[str, Outcome]]:
    yield "none", result.unchanged
    for window in result.windows:
        yield str(window.first) if window.first == window.last else f"{window.first}–{window.last}", window.outcome
    yield "all", result.everywhere


def main(words: Sequence[str]) -> int:
    """Run ``velm probe`` on the best checkpoint of each run, or on a given checkpoint.

    Args:
        words: the command line from ``probe`` on.

    Raises:
        InputError: an option is out of range, or a checkpoint is not in the folder of a run.
    """
    options = _options(words)
    checkpoints = [find_checkpoint(name) for name in options.run]
    folders = [find_run(checkpoint) for checkpoint in checkpoints]  # whose config.yaml names the data
    import torch

    from velm_lightning.cli.data.load import data_of
    from velm_lightning.fusion import Fusion

    measure = _measure_knockout if options.knockout else _measure
    for checkpoint, folder in zip(checkpoints, folders, strict=True):
        model = Fusion.load_from_checkpoint(checkpoint)
        data = data_of(folder / "config.yaml")
        measure(model.to("cuda" if torch.cuda.is_available() else "cpu"), data, folder, options)
    return 0


def _measure(model: Fusion, data: MultimodalData, folder: Path, options: argparse.Namespace) -> None:
    from velm_lightning.inspection.probe import probe
    from velm_lightning.io.terminal import Console

    result = probe(model, data, options.split, options.shuffles, options.limit or None, options.seed)
    save(result, folder)
    show(result, Console())
    echo(f"probe: {folder / 'probe.json'}")


def _measure_knockout(model: Fusion, data: MultimodalData, folder: Path, options: argparse.Namespace) -> None:
    from velm_lightning.inspection.knockout import knockout
    from velm_lightning.io.terminal import Console

    result = knockout(model, data, options.split, options.window, options.limit or None)
    save_knockout(result, folder)
    show_knockout(result, Console())
    echo(f"knockout: {folder / 'knockout.json'}")


def _options(words: Sequence[str]) -> argparse.Namespace:
    options = _parser().parse_args(list(words)[1:])
    for name, least in (("shuffles", 1), ("limit", 0)):
        if (value := getattr(options, name)) < least:
            raise InputError(f"--{name} must be at least {least}, got {value}")
    if options.window is not None and not options.knockout:
        raise InputError("--window is the size of a window of --knockout: give both")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "velm probe",
        description="Measure how much the score of a trained model depends on the image and on the text: the score "
        "with either permuted among the samples, and with a growing share of either missing. The result is written to "
        "probe.json in the run's folder. With --knockout, measure instead in which layers of its text trunk the model "
        "reads the image; the result is written to knockout.json.",
    )
    parser.add_argument("run", nargs="+", help="runs: folders, ids, checkpoints in them, or `latest`")
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--shuffles", type=int, default=3, help="permutations per modality (3)")
    parser.add_argument(
        "--limit", type=int, default=1000, help="largest number of samples, spread over the split; 0: all (1000)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--knockout", action="store_true", help="forbid words to attend to the image in windows of layers instead"
    )
    parser.add_argument("--window", type=int, help="layers per window of --knockout (a fifth of the layers)")
    return parser

"""The notes of a comparison: its metric, its limits and its findings, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from velm_lightning.compare.grouping import confounders, short_names, shown
from velm_lightning.compare.pairs import MOST
from velm_lightning.compare.reading import Scores

if TYPE_CHECKING:
    from velm_lightning.compare.comparison import Comparison


def notes_on(found: Comparison, scores: Mapping[int, Scores]) -> list[str]:
    """Return the notes on the metric, the limits and the findings of a comparison."""
    return [*_figure(found), *_doubts(found, scores), *_findings(found), *_below_floor(found)]


def _figure(found: Comparison) -> list[str]:
    """Return notes on the figure that is compared and tested, and on a different order by the score."""
    notes = []
    name, sign, why = found.metric
    if name != "score" or not why.startswith("the figure"):
        notes.append(f"Compared by {name}: {why}{'; lower is better' if sign < 0 else ''}.")
    if found.tested != name:
        notes.append(
            f"{name} is not computed from single samples here: paired tests and groups are of the {found.tested}, of "
            "which higher is better."
        )
    same = [result for result in found.results if result.method.data == found.results[0].method.data]
    best = max(same, key=lambda result: result.figures.get("score", float("-inf")))
    if best is not found.results[0] and name != "score":
        notes.append(f"By {name} {found.results[0].method.name} leads, by score {best.method.name}.")
    return notes


def _doubts(found: Comparison, scores: Mapping[int, Scores]) -> list[str]:
    """Return the limits of the comparison."""
    notes, runs, results = [], found.runs, found.results
    if len({run.data for run in runs}) > 1:
        first = results[0].method.runs[0]
        told = ", ".join(sorted({run.ident for run in runs if run.data != first.data})[:4])
        notes.append(f"Not paired, for data fingerprints or scorers differ: {told} against {first.ident}.")
    for key, values in confounders([one.method for one in results]).items():
        told = ", ".join(f"{fusion} {shown(value)}" for fusion, value in values.items())
        notes.append(f"Not on equal footing: {next(iter(short_names([key]).values()))} is {told}.")
    single = [one.method.name for one in results if len(one.method.runs) == 1]
    if single:
        told = f"{len(single)} methods" if len(single) > 3 else ", ".join(single)
        notes.append(
            f"One seed only ({told}): such intervals are over other images, not over other seeds; they allow no claim "
            "about methods, only about these models."
        )
    if any(one.images == one.keys for one in scores.values()) and len(next(iter(scores.values())).keys) > 1:
        notes.append(
            "Each sample is taken to have an image of its own: if several share one, intervals are too narrow."
        )
    if missing := max(int(run.record["scores"][found.split].get("without_references", 0)) for run in runs):
        notes.append(f"{missing} samples of {found.split} have no references and no score.")
    if len(results) > MOST:
        notes.append(f"Of {len(results)} methods, the best of each fusion on validation data are tested in pairs.")
    return notes


def _findings(found: Comparison) -> list[str]:
    """Return the pairs without a claim, and the methods that are not shown to beat the better control."""
    notes, pairs = [], found.pairs
    untold = [pair for pair in pairs if not pair.clear and not (pair.a.method.control and pair.b.method.control)]
    few = [pair for pair in untold if pair.difference.seeds < pair.least]
    for told, some in (
        ("Too few seeds for a claim", few),
        ("Open", [pair for pair in untold if pair.difference.seeds >= pair.least]),
    ):
        if some:
            named = "; ".join(f"{pair.a.method.name} over {pair.b.method.name} ({pair.need})" for pair in some[:3])
            rest = f"; and {len(some) - 3} more" if len(some) > 3 else ""
            notes.append(f"{told}, {len(some)} of {len(pairs)} pairs: {named}{rest}.")
    for control in found.controls:
        open_pairs = [pair for pair in found.against(control) if not (pair.clear and pair.b is control)]
        unbeaten = {id(result) for pair in open_pairs for result in (pair.a, pair.b)} - {id(control)}
        if unbeaten:
            named = ", ".join(result.method.name for result in found.results if id(result) in unbeaten)
            notes.append(
                f"Not shown to beat the better control, {control.method.name}: {named}. Nothing shows that image and "
                "text are both used there."
            )
    return notes


def _below_floor(found: Comparison) -> list[str]:
    """Return the methods whose intervals do not exclude the figure of the majority answer."""
    notes, sign = [], found.metric.sign
    below: dict[tuple[str, float], list[str]] = {}
    for result in found.results:
        for floor, value in result.floors.items():
            better = result.score.low > value if sign > 0 else result.score.high < value
            if floor.startswith("majority") and not better:
                below.setdefault((floor, value), []).append(result.method.name)
    for (floor, value), methods in below.items():
        side = "above" if sign > 0 else "below"
        notes.append(f"Intervals that do not lie {side} the {floor}, {value:.4f}: {', '.join(methods)}.")
    return notes

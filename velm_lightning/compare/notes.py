"""The notes of a comparison: its metric, its limits and its findings, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from velm_lightning.compare.budgets import spreads
from velm_lightning.compare.grouping import confounders, format_setting, short_names
from velm_lightning.compare.pairs import MOST
from velm_lightning.compare.reading import Scores
from velm_lightning.io.groups import belongs

if TYPE_CHECKING:
    from velm_lightning.compare.comparison import Comparison


def notes_on(comparison: Comparison, scores: Mapping[int, Scores]) -> list[str]:
    """Return the notes on the metric, the limits and the findings of a comparison."""
    return [
        *_figure(comparison),
        *_identical(comparison),
        *_doubts(comparison, scores),
        *_findings(comparison),
        *_below_floor(comparison),
    ]


def _figure(comparison: Comparison) -> list[str]:
    """Return notes on the figure that is compared and tested, and on a different order by the score."""
    notes = []
    name, sign, why = comparison.metric
    if name != "score" or not why.startswith("the figure"):
        notes.append(f"Compared by {name}: {why}{'; lower is better' if sign < 0 else ''}.")
    if comparison.tested != name:
        notes.append(
            f"{name} is not computed from single samples here: paired tests and groups are of the "
            f"{comparison.tested}, of which higher is better."
        )
    same = [result for result in comparison.results if result.method.data == comparison.results[0].method.data]
    best = max(same, key=lambda result: result.figures.get("score", float("-inf")))
    if best is not comparison.results[0] and name != "score":
        notes.append(f"By {name} {comparison.results[0].method.name} leads, by score {best.method.name}.")
    return notes


def _doubts(comparison: Comparison, scores: Mapping[int, Scores]) -> list[str]:
    """Return notes on the limits of the comparison."""
    notes, runs, results = [], comparison.runs, comparison.results
    if len({run.data for run in runs}) > 1:
        first = results[0].method.runs[0]
        others = ", ".join(sorted({run.ident for run in runs if run.data != first.data})[:4])
        notes.append(f"Not paired, because data fingerprints or scorers differ: {others} against {first.ident}.")
    notes += _confounders(comparison)
    notes += spreads(comparison)
    single = [result.method.name for result in results if len(result.method.runs) == 1]
    if single:
        methods = f"{len(single)} methods" if len(single) > 3 else ", ".join(single)
        notes.append(
            f"One seed only ({methods}): these intervals are over other images, not over other seeds; they allow no "
            "claim about methods, only about these models."
        )
    samples = list(scores.values())
    if any(of_run.images == of_run.keys for of_run in samples) and len(samples[0].keys) > 1:
        notes.append(
            "Each sample is assumed to have an image of its own: if samples share images, intervals are too narrow."
        )
    if missing := max(int(run.record["scores"][comparison.split].get("without_references", 0)) for run in runs):
        notes.append(f"{missing} samples of {comparison.split} have no references and no score.")
    if len(results) > MOST:
        notes.append(f"Of {len(results)} methods, the best of each fusion on validation data are tested in pairs.")
    return notes


def _confounders(comparison: Comparison) -> list[str]:
    """Return a note per setting, other than the fusion itself, in which fusions differ."""
    notes = []
    for key, values in confounders([result.method for result in comparison.results]).items():
        fusions: dict[str, list[str]] = {}
        for fusion, value in values.items():
            fusions.setdefault(format_setting(value), []).append(fusion)
        sides = "; ".join(f"{value} for {' and '.join(names)}" for value, names in fusions.items())
        notes.append(f"Not on equal footing: {short_names([key])[key]} is {sides}.")
    return notes


def _findings(comparison: Comparison) -> list[str]:
    """Return notes on pairs without a claim, and on methods that are not shown to beat the better control."""
    notes, pairs = [], comparison.pairs
    undecided = [pair for pair in pairs if not pair.clear and not (pair.a.method.control and pair.b.method.control)]
    few = [pair for pair in undecided if pair.difference.seeds < pair.least]
    for reason, group in (
        ("Too few seeds for a claim", few),
        ("Open", [pair for pair in undecided if pair.difference.seeds >= pair.least]),
    ):
        if group:
            named = "; ".join(f"{pair.a.method.name} over {pair.b.method.name} ({pair.need})" for pair in group[:3])
            rest = f"; and {len(group) - 3} more" if len(group) > 3 else ""
            notes.append(f"{reason}, {len(group)} of {len(pairs)} pairs: {named}{rest}.")
    for control in comparison.controls:
        open_pairs = [pair for pair in comparison.against(control) if not (pair.clear and pair.b is control)]
        unbeaten = {id(result) for pair in open_pairs for result in (pair.a, pair.b)} - {id(control)}
        if unbeaten:
            named = ", ".join(result.method.name for result in comparison.results if id(result) in unbeaten)
            notes.append(
                f"Not shown to beat the better control, {control.method.name}: {named}. For these, nothing shows that "
                "both image and text are used."
            )
    return notes


FEWEST = 10
"""Answers of a group from which identity with a control is worth a note."""


def _identical(comparison: Comparison) -> list[str]:
    """Return notes on the methods that give exactly the answers of a control on groups of samples."""
    same: dict[tuple[str, str], dict[str, int]] = {}
    for test in comparison.groups:
        for other in test.against:
            if other.agreement.share == 1 and other.agreement.samples >= FEWEST:
                names = test.method.method.name, other.control.method.name
                same.setdefault(names, {})[test.group] = other.agreement.samples
    return [
        f"{method} is identical to {control} on {', '.join(groups)} (100 % of {sum(groups.values()):,} answers)."
        for (method, control), groups in zip(same, map(_largest, same.values()), strict=True)
    ]


def _largest(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the groups that are not part of another one, with their numbers of samples."""
    return {
        group: count
        for group, count in counts.items()
        if not any(other != group and belongs(group, other) for other in counts)
    }


def _below_floor(comparison: Comparison) -> list[str]:
    """Return notes on the methods whose intervals do not exclude the figure of the majority answer."""
    notes, sign = [], comparison.metric.sign
    below: dict[tuple[str, float], list[str]] = {}
    for result in comparison.results:
        for floor, value in result.floors.items():
            better = result.score.low > value if sign > 0 else result.score.high < value
            if floor.startswith("majority") and not better:
                below.setdefault((floor, value), []).append(result.method.name)
    for (floor, value), methods in below.items():
        side = "above" if sign > 0 else "below"
        notes.append(f"Intervals that do not lie {side} the {floor}, {value:.4f}: {', '.join(methods)}.")
    return notes

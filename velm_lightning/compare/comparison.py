"""The one set of numbers that every output shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from velm_lightning.compare.grouping import Method, confounders, methods, short_names, shown
from velm_lightning.compare.reading import Left, RunFolder, Scores
from velm_lightning.compare.statistics import (
    Array,
    Difference,
    Interval,
    Table,
    difference,
    expected_best,
    holm,
    resampled_means,
    seed_interval,
)
from velm_lightning.compare.worth import COSTS, Owed, owed
from velm_lightning.errors import InputError

MOST = 10
"""Methods that are compared each with each; of more, the best of every fusion are, chosen on validation data."""


class Result(NamedTuple):
    """What there is to say of one method.

    Attributes:
        method: what it is and its runs.
        score: the mean over seeds, with its interval; over images alone where there is one seed.
        validation: the mean score on the validation split.
        figures: the means of all figures of the split.
        groups: the mean score of every group of samples, over seeds.
        costs: the means of what it costs, named as in ``COSTS``.
        probe: what it owes to each modality, where all its runs were probed.
    """

    method: Method
    score: Interval
    validation: float
    figures: dict[str, float]
    groups: dict[str, Interval]
    costs: dict[str, float]
    probe: dict[str, Owed]


class Pair(NamedTuple):
    """Two methods and how they differ; ``a`` is the better.

    Attributes:
        a: the better.
        b: the other.
        difference: A less B.
        p: the p-value, corrected for all pairs by Holm.
    """

    a: Result
    b: Result
    difference: Difference
    p: float

    @property
    def clear(self) -> bool:
        """Whether the difference is more than chance explains, at 5 % over all pairs."""
        return self.p < 0.05


class Comparison(NamedTuple):
    """Everything that was found.

    Attributes:
        split: which samples.
        results: the methods, best first.
        pairs: the paired tests.
        notes: what a reader must know, a sentence each.
        left: folders that were left out.
        budgets: for each fusion the expected best validation score of 1, 2, … trials.
        floors: scores that need no model, such as that of the majority answer; no methods, and never tested.
    """

    split: str
    results: list[Result]
    pairs: list[Pair]
    notes: list[str]
    left: list[Left]
    budgets: dict[str, list[float]]
    floors: dict[str, float] = {}  # noqa: RUF012 - a default of a NamedTuple, which nothing changes

    @property
    def runs(self) -> list[RunFolder]:
        """All runs."""
        return [run for result in self.results for run in result.method.runs]


class _Board(NamedTuple):
    """The scores of all runs on one set of samples."""

    table: Table
    resampled: Array
    rows: dict[int, int]  # of a run, by its identity
    groups: dict[str, Array]  # mean score (R,) of each group of samples


def compare(
    runs: Sequence[RunFolder], left: Sequence[Left] = (), split: str | None = None, controls: Sequence[str] = ()
) -> Comparison:
    """Compare runs.

    Args:
        runs: finished runs.
        left: folders that were left out, to be named.
        split: whose figures; by default ``test`` where all runs have it, else ``val``.
        controls: classes that are controls besides those whose record tells so.

    Raises:
        InputError: no run has the split.
    """
    split = split or ("test" if all("test" in run.record["scores"] for run in runs) else "val")
    scores, left = _scores(runs, split, list(left))
    kept = [run for run in runs if id(run) in scores]
    if not kept:
        told = "".join(f"\n{one.folder}: {one.why}" for one in left)
        raise InputError(f"none of {len(runs) + len(left)} runs can be compared on {split!r}{told}")
    boards = {data: _board([run for run in kept if run.data == data], scores) for data in {run.data for run in kept}}
    found = methods(kept, controls)
    results = sorted((_result(one, split, boards) for one in found), key=lambda one: -one.score.value)
    pairs = _pairs(results, boards)
    notes = [*_doubts(kept, scores, results, split), *_findings(results, pairs)]
    floors = {name: score for run in kept for name, score in run.floors(split).items()}
    notes += _below_floor(results, split)
    return Comparison(split, results, pairs, notes, left, _budgets(results), floors)


def _scores(runs: Sequence[RunFolder], split: str, left: list[Left]) -> tuple[dict[int, Scores], list[Left]]:
    """Read the predictions of every run; who has none, or of other samples than most, is left out."""
    found: dict[int, Scores] = {}
    for run in runs:
        try:
            if split not in run.record["scores"]:
                raise InputError(f"it was not evaluated on {split!r}")
            found[id(run)] = run.scores(split)
        except InputError as error:
            left.append(Left(run.folder, str(error)))
    for data in {run.data for run in runs}:
        same = [run for run in runs if run.data == data and id(run) in found]
        times = Counter(found[id(run)].keys for run in same)
        usual = max(times, key=lambda one: (times[one], len(one)), default=())
        for run in same:
            if found[id(run)].keys != usual:
                del found[id(run)]
                left.append(Left(run.folder, f"its {split} predictions are of other samples than those of other runs"))
    return found, left


def _board(runs: Sequence[RunFolder], scores: dict[int, Scores]) -> _Board:
    first = scores[id(runs[0])]
    values = np.stack([scores[id(run)].values for run in runs])
    table = Table.of(values, np.unique(np.array(first.images), return_inverse=True)[1])
    groups = np.array(first.groups)
    means = {str(name): values[:, groups == name].mean(1) for name in np.unique(groups) if name}
    return _Board(table, resampled_means(table), {id(run): row for row, run in enumerate(runs)}, means)


def _result(method: Method, split: str, boards: dict[str, _Board]) -> Result:
    board = boards[method.runs[0].data]
    rows = [board.rows[id(run)] for run in method.runs]
    score = seed_interval([run.figure(split) for run in method.runs])
    if len(rows) == 1:
        low, high = np.quantile(board.resampled[:, rows[0]] - board.table.means[rows[0]], [0.025, 0.975])
        score = Interval(score.value, score.value + float(low), score.value + float(high))
    counted = ("samples", "without_references")
    names = dict.fromkeys(name for run in method.runs for name in run.record["scores"][split] if name not in counted)
    return Result(
        method,
        score,
        _mean([run.figure("val") for run in method.runs]),
        {name: _mean([run.figure(split, name) for run in method.runs]) for name in names},
        {name: seed_interval([float(means[row]) for row in rows]) for name, means in board.groups.items()},
        {name: _mean([run.cost(name) for run in method.runs]) for name in COSTS},
        owed(method, split),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _pairs(results: Sequence[Result], boards: dict[str, _Board]) -> list[Pair]:
    chosen = list(results) if len(results) <= MOST else _best_of_each(results)
    compared = [
        (a, b, _difference(boards[a.method.runs[0].data], a.method.runs, b.method.runs))
        for a, b in combinations(chosen, 2)
        if a.method.runs[0].data == b.method.runs[0].data
    ]
    corrected = holm([found.p for _, _, found in compared])
    return [Pair(a, b, found, p) for (a, b, found), p in zip(compared, corrected, strict=True)]


def _best_of_each(results: Sequence[Result]) -> list[Result]:
    best: dict[str, Result] = {}
    for one in results:
        found = best.get(one.method.fusion)
        if found is None or one.validation > found.validation:
            best[one.method.fusion] = one
    return sorted(best.values(), key=lambda one: -one.score.value)


def _difference(board: _Board, a: Sequence[RunFolder], b: Sequence[RunFolder]) -> Difference:
    """Compare by common seeds; with less than two of them, as independent runs."""
    by_seed = [{run.seed: board.rows[id(run)] for run in runs} for runs in (a, b)]
    common = [seed for seed in by_seed[0] if seed in by_seed[1]]
    paired = len(common) > 1 or (len(common) == 1 and min(len(a), len(b)) == 1)
    rows_a, rows_b = ([one[seed] for seed in common] if paired else list(one.values()) for one in by_seed)
    return difference(board.table, board.resampled, rows_a, rows_b, paired)


def _budgets(results: Sequence[Result]) -> dict[str, list[float]]:
    """Return curves for the fusions that were searched: those with several configurations."""
    trials: dict[str, list[float]] = {}
    for one in results:
        trials.setdefault(one.method.fusion, []).append(one.validation)
    return {
        fusion: expected_best([value for value in values if value == value])
        for fusion, values in trials.items()
        if len(values) > 1
    }


def _doubts(runs: Sequence[RunFolder], scores: dict[int, Scores], results: Sequence[Result], split: str) -> list[str]:
    """Return what stands against reading the table as it is."""
    notes = []
    if len({run.data for run in runs}) > 1:
        told = ", ".join(sorted({run.ident for run in runs if run.data != runs[0].data})[:4])
        notes.append(f"Not paired, for data fingerprints or scorers differ: {told} against {runs[0].ident}.")
    for key, values in confounders([one.method for one in results]).items():
        told = ", ".join(f"{fusion} {shown(value)}" for fusion, value in values.items())
        notes.append(f"Not on equal footing: {next(iter(short_names([key]).values()))} is {told}.")
    single = [one.method.name for one in results if len(one.method.runs) == 1]
    if single:
        told = f"{len(single)} methods" if len(single) > 3 else ", ".join(single)
        notes.append(f"One seed only ({told}): such intervals tell of other images, not of other seeds.")
    if any(found.images == found.keys for found in scores.values()) and len(next(iter(scores.values())).keys) > 1:
        notes.append("Samples are taken to show a picture each: where several share one, intervals are too narrow.")
    if missing := max(int(run.record["scores"][split].get("without_references", 0)) for run in runs):
        notes.append(f"{missing} samples of {split} have no references and no score.")
    odd = [run.ident for run in runs if abs(run.figure(split) - _mean_of(scores[id(run)])) > 1e-6]
    if odd:
        notes.append("The headline figure is no mean of sample scores; paired tests are of the samples' mean score.")
    if len(results) > MOST:
        notes.append(f"Of {len(results)} methods, the best of each fusion on validation data are tested in pairs.")
    return notes


def _mean_of(found: Scores) -> float:
    return float(found.values.mean()) if len(found.values) else float("nan")


def _findings(results: Sequence[Result], pairs: Sequence[Pair]) -> list[str]:
    """Return which gaps are inside the noise, and which fusions do not beat the better control."""
    notes = []
    noisy = [pair for pair in pairs if not pair.clear and not (pair.a.method.control and pair.b.method.control)]
    if noisy:
        told = "; ".join(f"{pair.a.method.name} over {pair.b.method.name}" for pair in noisy[:3])
        rest = f"; and {len(noisy) - 3} more" if len(noisy) > 3 else ""
        notes.append(f"Inside the noise, {len(noisy)} of {len(pairs)} pairs: {told}{rest}.")
    best = next((one for one in results if one.method.control), None)
    against = {id(pair.a if pair.b is best else pair.b): pair for pair in pairs if best in (pair.a, pair.b)}
    tested = [(one, against[id(one)]) for one in results if id(one) in against and not one.method.control]
    equal = [one.method.name for one, pair in tested if pair.a is best or pair.difference.interval.low <= 0]
    if best is not None and equal:
        told = f"Do not beat the control {best.method.name} by more than their interval: {', '.join(equal)}"
        notes.append(f"{told}. Nothing shows that image and text are both used there.")
    return notes


def _below_floor(results: Sequence[Result], split: str) -> list[str]:
    """Return which methods' intervals do not lie above the score of a constant answer."""
    names: dict[str, list[str]] = {}
    for one in results:
        for name, floor in one.method.runs[0].floors(split).items():
            if name.startswith("majority") and not one.score.low > floor:
                names.setdefault(f"{name}, {floor:.4f}", []).append(one.method.name)
    return [f"Intervals that do not lie above the {name}: {', '.join(found)}." for name, found in names.items()]


def points(interval: Interval) -> str:
    """Return a difference with its interval, in words."""
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def settings_of(results: Sequence[Result]) -> dict[str, list[Any]]:
    """Return the settings in which the methods differ, short-named, with the value of each method or None."""
    keys = list(dict.fromkeys(key for one in results for key in one.method.settings))
    return {name: [one.method.settings.get(key) for one in results] for key, name in short_names(keys).items()}

"""Reads the predictions of runs on the same data, and gives them the same groups and images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from velm_lightning.compare.deciding.sequential import Schedule
from velm_lightning.compare.reading import RunFolder, Scores, SkippedRun
from velm_lightning.compare.samples.found_groups import found_groups
from velm_lightning.errors import InputError


def aligned_scores(
    runs: Sequence[RunFolder], split: str, left: list[SkippedRun]
) -> tuple[dict[int, Scores], list[SkippedRun]]:
    """Read the predictions of all runs; leave out runs without them, or with other samples than most runs."""
    scores: dict[int, Scores] = {}
    for run in runs:
        try:
            if split not in run.record["scores"]:
                raise InputError(f"it was not evaluated on {split!r}")
            Schedule.of(run.record)
            scores[id(run)] = run.scores(split)
        except InputError as error:
            left.append(SkippedRun(run.folder, str(error)))
    for data in dict.fromkeys(run.data for run in runs):
        same = [run for run in runs if run.data == data and id(run) in scores]
        times = Counter(scores[id(run)].keys for run in same)
        usual = max(times, key=lambda keys: (times[keys], len(keys)), default=())
        for run in same:
            if scores[id(run)].keys != usual:
                del scores[id(run)]
                left.append(
                    SkippedRun(run.folder, f"its {split} predictions are of other samples than those of other runs")
                )
    return scores, left


def share_groups(scores: dict[int, Scores], same_data: Sequence[Sequence[RunFolder]]) -> str:
    """Give all runs on the same data the groups and images of one of them, and return how groups were found, if any.

    Imported predictions of the same samples may name other groups and images than other runs, or none.
    """
    by = ""
    for runs in same_data:
        tables = [scores[id(run)] for run in runs]
        images = next((table.images for table in tables if table.images != table.keys), tables[0].images)
        groups = next((table.groups for table in tables if any(table.groups)), None)
        if groups is None:
            how, groups = found_groups(tables[0])
            by = how or by
        scores |= {id(run): scores[id(run)]._replace(groups=groups, images=images) for run in runs}
    return by

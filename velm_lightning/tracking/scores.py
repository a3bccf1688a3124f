"""The table of figures that is printed at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from velm_lightning.io.terminal import Console, Table, Text
from velm_lightning.tasks.floors import label, not_beaten
from velm_lightning.tasks.rows import WITHOUT_REFERENCES
from velm_lightning.tracking.run import Run


def print_scores(run: Run, names: Iterable[str] = (), console: Console | None = None) -> None:
    """Print the figures of a run and the score of every group as a table, then notes and warnings.

    Args:
        run: the run.
        names: evaluations to show in addition to the run's own evaluations of its validation and test split.
        console: the console to print to; by default a new one on stdout.
    """
    record, names = run.record, {"val", "test", *names}
    splits = sorted(names & record.get("scores", {}).keys(), key=lambda split: (not split.startswith("val"), split))
    console = console or Console()
    with run.interpreting():
        table, lines = _table(run, splits), [*map(Text, (*_notes(record, splits), *record.get("limits", ())))]
    console.print(Text(f"{run.ident} · {record.get('signature') or ''}"), soft_wrap=True)
    console.print(table)
    for line in lines:
        console.print(line, soft_wrap=True)


def _table(run: Run, splits: list[str]) -> Table:
    record = run.record
    scores, extra, floors = record.get("scores", {}), record.get("beside", {}), record.get("floors", {})
    table = Table()
    table.add_column("figure", overflow="fold")
    for split in splits:
        table.add_column(f"{split} ({scores[split]['samples']})", justify="right")

    def add(name: str, values: Mapping[str, Mapping[str, float]], title: str, style: str | None = None) -> None:
        cells = (values.get(split, {}).get(name) for split in splits)
        table.add_row(title, *("" if value is None else f"{value:.4f}" for value in cells), style=style)

    for name in _names(scores, splits):
        if name not in ("samples", WITHOUT_REFERENCES):
            add(name, scores, name)
    if "seen_in_training" in record:
        name = "seen_in_training"
        add(name, {split: {name: share} for split, share in record[name].items()}, name)
    for name in _names(extra, splits):
        add(name, extra, name)
    labelled = {
        split: {label(*item): item[1].get("score") for item in floors.get(split, {}).items()} for split in splits
    }
    for name in _names(labelled, splits):
        add(name, labelled, f"score · {name}", "dim")
    table.add_section()
    for name in _names(record.get("groups", {}), splits):
        add(name, record["groups"], f"score · {name}")
    return table


def _names(values: Mapping[str, Mapping[str, Any]], splits: list[str]) -> list[str]:
    """Return the names that occur in any of the splits, in order of their first occurrence."""
    return list(dict.fromkeys(name for split in splits for name in values.get(split, ())))


def _notes(record: Mapping[str, Any], splits: list[str]) -> Iterator[str]:
    """Yield a note per split with samples that have no references, and a warning per floor that is not exceeded."""
    for split in splits:
        scores = record["scores"][split]
        if missing := scores.get(WITHOUT_REFERENCES):
            yield f"note: {missing} of the {scores['samples']} samples of {split} have no references and no score"
        for name, floor in record.get("floors", {}).get(split, {}).items():
            error = floor.get("lead_error", math.nan)
            if not not_beaten(floor) or (math.isnan(error) and floor["lead"] > 0):
                continue
            warning = f"warning: the score on {split}, {scores['score']:.4f}, does not exceed that of the "
            warning += f"{label(name, floor)}, {floor['score']:.4f}"
            # a single image has no standard error
            yield warning if math.isnan(error) else f"{warning}, by more than the standard error, {error:.4f}"

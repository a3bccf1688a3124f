"""The table with which a run ends."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from velm_lightning.tasks.floors import label, not_beaten
from velm_lightning.tasks.rows import WITHOUT_REFERENCES
from velm_lightning.tracking.run import Run


def print_scores(run: Run, names: Iterable[str] = (), console: Console | None = None) -> None:
    """Print the figures of a run and the score of every group as a table.

    Args:
        run: the run.
        names: evaluations that are shown next to the run's own of its validation and test split.
        console: where to.
    """
    record, names = run.record, {"val", "test", *names}
    splits = sorted(names & record.get("scores", {}).keys(), key=lambda split: (not split.startswith("val"), split))
    title = f"{run.ident} · {record.get('signature') or ''}"
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for split in splits:
        table.add_column(f"{split} ({record['scores'][split]['samples']})", justify="right")
    counted = ("samples", WITHOUT_REFERENCES)
    names = dict.fromkeys(name for split in splits for name in record["scores"][split] if name not in counted)
    for name in names:
        table.add_row(name, *(_shown(record["scores"][split].get(name)) for split in splits))
    if seen := record.get("seen_in_training"):
        table.add_row("seen_in_training", *(_shown(seen.get(split)) for split in splits))
    beside = record.get("beside", {})
    for name in dict.fromkeys(name for split in splits for name in beside.get(split, ())):
        table.add_row(name, *(_shown(beside.get(split, {}).get(name)) for split in splits))
    floors = record.get("floors", {})
    for name in dict.fromkeys(label(*one) for split in splits for one in floors.get(split, {}).items()):
        scores = ({label(*one): one[1].get("score") for one in floors.get(split, {}).items()} for split in splits)
        table.add_row(f"score · {name}", *(_shown(found.get(name)) for found in scores), style="dim")
    table.add_section()
    for name in dict.fromkeys(name for split in splits for name in record["groups"][split]):
        table.add_row(f"score · {name}", *(_shown(record["groups"][split].get(name)) for split in splits))
    console = console or Console()
    console.print(table)
    for split in splits:
        if missing := record["scores"][split].get(WITHOUT_REFERENCES):
            samples = record["scores"][split]["samples"]
            console.print(f"note: {missing} of the {samples} samples of {split} have no references and no score")

        for name, floor in floors.get(split, {}).items():
            if not_beaten(floor):
                score, error = record["scores"][split]["score"], floor["lead_error"]
                told = f"the score on {split}, {score:.4f}, does not exceed that of the {label(name, floor)}"
                told = f"warning: {told}, {floor['score']:.4f}, by more than the standard error, {error:.4f}"
                console.print(told, markup=False, highlight=False, soft_wrap=True)
    for note in record.get("limits", ()):
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"

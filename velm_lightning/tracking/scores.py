"""The table with which a run ends."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

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
    names = dict.fromkeys(name for split in splits for name in record["scores"][split] if name != "samples")
    for name in names:
        table.add_row(name, *(_shown(record["scores"][split].get(name)) for split in splits))
    if seen := record.get("seen_in_training"):
        table.add_row("seen_in_training", *(_shown(seen.get(split)) for split in splits))
    beside = record.get("beside", {})
    for name in dict.fromkeys(name for split in splits for name in beside.get(split, ())):
        table.add_row(name, *(_shown(beside.get(split, {}).get(name)) for split in splits))
    table.add_section()
    for name in dict.fromkeys(name for split in splits for name in record["groups"][split]):
        table.add_row(f"score · {name}", *(_shown(record["groups"][split].get(name)) for split in splits))
    (console or Console()).print(table)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"

"""What a check of a dataset found, in numbers and sentences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

SHOWN = 20
"""Messages of one kind that are printed unless all are asked for."""


class Problem(NamedTuple):
    """Something to mend: its kind (``rows``, ``keys``, ``texts``, ``images`` or ``splits``) and a sentence."""

    kind: str
    message: str


class Figures(NamedTuple):
    """A split in numbers; lengths are in words."""

    samples: int
    images: int
    groups: Counter[str]
    answers: int
    unknown: float  # share of samples none of whose answers can be learnt from the training split
    prompts: tuple[int, ...]  # 50th, 90th, 99th percentile and longest
    targets: tuple[int, ...]


@dataclass
class Report:
    """What a check found: problems are to be mended, notes may be as intended."""

    splits: dict[str, Figures]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing must be mended."""
        return not self.problems

    def print(self, console: Console, shown: int = SHOWN) -> None:
        """Print tables of the splits and of their groups, then the problems."""
        console.print(self._sizes())
        groups = Counter[str]()
        for figures in self.splits.values():
            groups.update(figures.groups)
        if groups.keys() - {""}:
            table = Table("group", *self.splits, title="Samples by group")
            for group, _ in groups.most_common(SHOWN):
                table.add_row(group or "(none)", *(f"{one.groups[group]:,}" for one in self.splits.values()))
            console.print(table)
        for note in self.notes:
            console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
        for kind, count in Counter(problem.kind for problem in self.problems).items():
            console.print(f"{count} {'problem' if count == 1 else 'problems'} with {kind}:", style="bold red")
            for problem in [one for one in self.problems if one.kind == kind][:shown]:
                console.print(f"  {problem.message}", markup=False, highlight=False, soft_wrap=True)
            if count > shown:
                console.print(f"  … and {count - shown} more: --all prints them")
        if self.ok:
            console.print("nothing to mend", style="bold green")

    def _sizes(self) -> Table:
        columns = ("samples", "images", "answers", "unknown answers", "words of prompts", "of targets")
        table = Table("split", *columns, title="Splits", caption="words: 50th, 90th, 99th percentile, longest")
        for name, one in self.splits.items():
            unknown = f"{one.unknown:.1%}" if one.answers else "-"
            lengths = (
                "{}, {}, {} / {}".format(*length) if any(length) else "-" for length in (one.prompts, one.targets)
            )
            table.add_row(name, f"{one.samples:,}", f"{one.images:,}", f"{one.answers:,}", unknown, *lengths)
        return table

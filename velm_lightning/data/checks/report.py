"""The report of a dataset check: figures, problems and notes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from velm_lightning.io.terminal import Console, Table, Text

SHOWN = 20
"""Default number of printed messages per kind."""


class Problem(NamedTuple):
    """A problem: its kind (``rows``, ``keys``, ``texts``, ``images`` or ``splits``) and a sentence."""

    kind: str
    message: str


class SplitStatistics(NamedTuple):
    """Statistics of a split; lengths are in words."""

    samples: int
    images: int
    groups: Counter[str]
    answers: int
    unknown: float  # share of samples without an answer in the answer vocabulary
    prompts: tuple[int, ...]  # 50th, 90th, 99th percentile and longest
    targets: tuple[int, ...]


@dataclass
class Report:
    """The result of a check: problems must be fixed, notes may be intended."""

    splits: dict[str, SplitStatistics]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
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
                cells = [f"{figures.groups[group]:,}" for figures in self.splits.values()]
                table.add_row(group or "(none)", *cells)
            console.print(table)
        for note in self.notes:
            console.print(Text(f"note: {note}"), soft_wrap=True)
        for kind, count in Counter(problem.kind for problem in self.problems).items():
            console.print(f"{count} {'problem' if count == 1 else 'problems'} with {kind}:", style="bold red")
            for problem in [item for item in self.problems if item.kind == kind][:shown]:
                console.print(Text(f"  {problem.message}"), soft_wrap=True)
            if count > shown:
                console.print(f"  … and {count - shown} more: --all prints them")
        if self.ok:
            console.print("no problems", style="bold green")

    def _sizes(self) -> Table:
        columns = ("samples", "images", "answers", "unknown answers", "words of prompts", "of targets")
        table = Table("split", *columns, title="Splits", caption="words: 50th, 90th, 99th percentile, longest")
        for name, figures in self.splits.items():
            unknown = f"{figures.unknown:.1%}" if figures.answers else "-"
            lengths = (
                "{}, {}, {} / {}".format(*length) if any(length) else "-"
                for length in (figures.prompts, figures.targets)
            )
            table.add_row(
                name, f"{figures.samples:,}", f"{figures.images:,}", f"{figures.answers:,}", unknown, *lengths
            )
        return table

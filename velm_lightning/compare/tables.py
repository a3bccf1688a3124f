"""The numbers as tables: for the terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from velm_lightning.compare.comparison import Comparison, Pair, Result, points
from velm_lightning.compare.statistics import Interval
from velm_lightning.compare.worth import COSTS


class Sheet(NamedTuple):
    """A table of texts; the first ``words`` columns are words, the others numbers."""

    title: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1


def sheets(found: Comparison) -> list[Sheet]:
    """Return the tables of a comparison: scores with costs, pairs, scores by group."""
    costs = [name for name in COSTS if any(not math.isnan(one.costs[name]) for one in found.results)]
    head = ["method", "seeds", "score ± 95 %", *(COSTS[name] for name in costs)]
    rows = [_row(one, costs) for one in found.results]
    rows += [[f"{name} (no model)", "—", f"{score:.4f}", *("—" for _ in costs)] for name, score in found.floors.items()]
    several = [Sheet(f"score on {found.split}", head, rows)]
    if found.pairs:
        head = ["better", "worse", "difference [95 % interval]", "p (Holm)", "seeds", ""]
        title = "paired differences (an interval is of its pair alone, p is corrected for all)"
        several.append(Sheet(title, head, [_pair(pair) for pair in found.pairs], 2))
    probed = [one for one in found.results if one.probe]
    if probed:
        head = ["method", "shuffled", "costs ± 95 %", "share of the score", "all missing"]
        rows = [
            [_named(one), name, _spread(owed.cost), f"{owed.perceptual:.1%}", f"{owed.missing[-1]:.4f}"]
            for one in probed
            for name, owed in one.probe.items()
        ]
        several.append(Sheet("what each modality is worth", head, rows, 2))
    names = list(dict.fromkeys(name for one in found.results for name in one.groups))
    if names:
        rows = [[_named(one), *(_spread(one.groups.get(name)) for name in names)] for one in found.results]
        several.append(Sheet("score by group of samples", ["method", *names], rows))
    return several


def _named(one: Result) -> str:
    return f"{one.method.name} (control)" if one.method.control else one.method.name


def _row(one: Result, costs: Sequence[str]) -> list[str]:
    return [_named(one), str(len(one.method.runs)), _spread(one.score), *(short(one.costs[name]) for name in costs)]


def _pair(pair: Pair) -> list[str]:
    found = pair.difference
    seeds = f"{found.seeds} {'paired' if found.paired else 'unpaired'}"
    return [pair.a.method.name, pair.b.method.name, points(found.interval), p_value(pair.p), seeds, verdict(pair)]


def verdict(pair: Pair) -> str:
    """Return in two words what a pair tells."""
    return ("clear" if pair.difference.seeds > 1 else "clear, for one seed") if pair.clear else "inside the noise"


def p_value(p: float) -> str:
    """Return a p-value as a person reads it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _spread(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.value:.4f}" + (f" ± {interval.half:.4f}" if math.isfinite(interval.half) else "")


def short(value: float) -> str:
    """Return a number as a person reads it: 954 k, 26.1 M, 3.2."""
    if math.isnan(value):
        return "—"
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_tables(found: Comparison, console: Console) -> None:
    """Print everything to a terminal."""
    for sheet in sheets(found):
        table = Table(title=sheet.title, title_justify="left")
        for place, name in enumerate(sheet.head):
            table.add_column(Text(name), justify="left" if place < sheet.words else "right", overflow="fold")
        for row in sheet.rows:
            table.add_row(*map(Text, row))
        console.print(table)
    for note in found.notes:
        console.print(Text(f"note: {note}"))
    for left in found.left:
        console.print(Text(f"left out: {left.folder}: {left.why}"))


def markdown(found: Comparison) -> str:
    """Return the tables and notes as Markdown."""
    parts = []
    for sheet in sheets(found):
        parts.append(f"**{sheet.title}**\n")
        rule = ["---" if place < sheet.words else "---:" for place in range(len(sheet.head))]
        parts += ["| " + " | ".join(map(_for_markdown, row)) + " |" for row in (sheet.head, rule, *sheet.rows)]
        parts.append("")
    parts += [f"- {_for_markdown(note)}" for note in found.notes]
    parts += [f"- left out: {_for_markdown(f'{left.folder}: {left.why}')}" for left in found.left]
    return "\n".join(parts) + "\n"


def _for_markdown(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text).replace("\n", " ") if not re.fullmatch(r"-+:?", text) else text


def latex(found: Comparison) -> str:
    """Return the tables for LaTeX with booktabs."""
    return "\n".join(line for sheet in sheets(found) for line in _tabular(sheet)) + "\n"


def _tabular(sheet: Sheet) -> Iterator[str]:
    columns = "".join("l" if place < sheet.words else "r" for place in range(len(sheet.head)))
    yield f"% {sheet.title}"
    yield rf"\begin{{tabular}}{{{columns}}}"
    yield r"\toprule"
    yield " & ".join(map(_for_latex, sheet.head)) + r" \\"
    yield r"\midrule"
    for row in sheet.rows:
        yield " & ".join(map(_for_latex, row)) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "…": r"\dots{}",
    "—": "---", "·": r"$\cdot$", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def _for_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text.replace("\n", " "))


def table_of_runs(found: Comparison) -> str:
    """Return one line a run, in full precision, as CSV: method, settings, costs and every figure of every split."""
    keys = list(dict.fromkeys(key for one in found.results for key in one.method.settings))
    rows = []
    for one in found.results:
        for run in one.method.runs:
            row = {"run": run.ident, "method": one.method.name, "fusion": run.fusion, "seed": run.seed}
            row |= {key: one.method.settings.get(key, "") for key in keys}
            row |= {name: run.record.get(name, "") for name in COSTS}
            for split, figures in run.record["scores"].items():
                row |= {f"{split}/{name}": value for name, value in figures.items()}
            rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

"""Writes the tables of a comparison for the terminal, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from velm_lightning.compare.comparison import Comparison, points
from velm_lightning.compare.meeting_depth import ALL, CAPTION, curve_of
from velm_lightning.compare.pairs import Pair
from velm_lightning.compare.reading import COSTS
from velm_lightning.compare.result import Result
from velm_lightning.compare.samples.detail_views import detail_sheets
from velm_lightning.compare.samples.group_tables import against_controls, agreement_sheet
from velm_lightning.compare.statistics import Interval
from velm_lightning.compare.views.binding_table import binding_sheet
from velm_lightning.compare.views.posterior_table import posterior_sheet
from velm_lightning.compare.views.power_table import power_sheet
from velm_lightning.compare.views.sections import sections
from velm_lightning.compare.views.settings_table import settings_sheet
from velm_lightning.compare.views.sheet import Sheet, print_sheet
from velm_lightning.io.terminal import Console, Text


def sheets(comparison: Comparison) -> list[Sheet]:
    """Return the tables of a comparison: scores with costs, other figures, pairs, control, modalities, groups."""
    return [
        sheet._replace(title=f"{sheet.title} · {title}") if title else sheet
        for title, part in sections(comparison)
        for sheet in _sheets(part)
        if sheet.rows
    ]


def _sheets(comparison: Comparison) -> list[Sheet]:
    """Return the tables of methods on one data set; a table without rows has no data."""
    return [
        _scores(comparison),
        _meeting_depth(comparison),
        binding_sheet(comparison),
        _figures(comparison),
        _pairs(comparison),
        posterior_sheet(comparison),
        power_sheet(comparison),
        *(_control(comparison, control) for control in comparison.controls),
        settings_sheet(comparison),
        _probes(comparison),
        _groups(comparison),
        against_controls(comparison),
        agreement_sheet(comparison),
        *detail_sheets(comparison.details),
    ]


SEEDS_ONLY = "95 % intervals over seeds (Student's t, images held fixed) of each mean separately"
OR_IMAGES = f"{SEEDS_ONLY}; with one seed, over images"


def _scores(comparison: Comparison) -> Sheet:
    costs = [name for name in COSTS if any(not math.isnan(result.costs[name]) for result in comparison.results)]
    head = ["method", "seeds", f"{comparison.metric.name} ± 95 %", *(COSTS[name] for name in costs)]
    rows = [_row(result, costs) for result in comparison.results]
    rows += [
        [f"{name} (no model)", "—", f"{value:.4f}", *("—" for _ in costs)] for name, value in comparison.floors.items()
    ]
    two = any(len(result.method.runs) == 2 for result in comparison.results)
    wide = " With two seeds ± is 12.7 standard errors (with three 4.3, with five 2.8)." if two else ""
    return Sheet(f"{comparison.metric.name} on {comparison.split}", head, rows, 1, f"Means; ± are {OR_IMAGES}.{wide}")


def _meeting_depth(comparison: Comparison) -> Sheet:
    """Return the table of the curve: one row per kind, tuning and depth, one column per group of samples."""
    parts = curve_of(comparison)
    groups = dict.fromkeys(part.group for part in parts)
    whole = [part for part in parts if part.group == ALL]
    places = [(part.tuning, line.kind, depth) for part in whole for line in part.lines for depth in line.depths]
    scores = {
        (part.tuning, line.kind, depth, part.group): score
        for part in parts
        for line in part.lines
        for depth, score in zip(line.depths, line.scores, strict=True)
    }
    rows = [
        [
            f"{kind}, {tuning}" if tuning else kind,
            f"{depth:.2f}" if depth <= 1 else "after",
            *(_interval(scores.get((tuning, kind, depth, group))) for group in groups),
        ]
        for tuning, kind, depth in places
    ]
    head = ["kind", "depth", *groups]
    return Sheet(f"score by meeting depth on {comparison.split}", head, rows, 1, CAPTION)


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.value:.4f} ± {interval.half:.4f}" if math.isfinite(interval.half) else f"{interval.value:.4f}"


def _figures(comparison: Comparison) -> Sheet:
    """Return the table of all other figures."""
    names = dict.fromkeys(
        name for result in comparison.results for name in result.figures if name != comparison.metric.name
    )
    rows = (
        [[_named(result), *(_figure(result, name) for name in names)] for result in comparison.results] if names else []
    )
    return Sheet(
        f"other figures on {comparison.split}", ["method", *names], rows, 1, "Means over seeds, without intervals."
    )


def _figure(result: Result, name: str) -> str:
    return f"{result.figures[name]:.4f}" if name in result.figures else ""


PAIRED = "Intervals are for each pair separately, over seeds and images together; p is corrected for the family (Holm)."


def _pairs(comparison: Comparison) -> Sheet:
    family = comparison.family
    count = f"{family.tests} of {family.pairs} pairs" if family.tests < family.pairs else f"{family.tests} pairs"
    caption = (
        f"Family: all pairs of methods, tested together: {count} with at least {family.least} seeds. {PAIRED} A claim "
        f"(clear) needs p below 0.05; pairs with fewer seeds have none. Needed seeds are for "
        f"a power of 80 %, if the observed differences and spreads are the true ones.{_direction(comparison)}"
        f"{_looks(comparison)}"
    )
    head = ["better", "worse", "difference [95 %]", "p (Holm)", "seeds", "verdict"]
    rows = [[pair.a.method.name, pair.b.method.name, *_tested(pair), pair.verdict] for pair in comparison.pairs]
    return Sheet(f"paired differences of {comparison.tested}", head, rows, 2, caption)


def _direction(comparison: Comparison) -> str:
    return f" Of the {comparison.tested}, lower values are better." if comparison.tested_sign < 0 else ""


def _looks(comparison: Comparison) -> str:
    """Return how often results were looked at while seeds were added; empty if the number of seeds was fixed."""
    looks = dict.fromkeys(str(list(run.record["looks"]["looks"])) for run in comparison.runs if run.record.get("looks"))
    if not looks:
        return ""
    return f" Seeds were added until decided: p and intervals are corrected for looks at {' and '.join(looks)} seeds."


def _control(comparison: Comparison, control: Result) -> Sheet:
    rows = [
        [
            (pair.b if pair.a is control else pair.a).method.name,
            *_tested(pair, pair.a is control),
            _beats(pair, control),
        ]
        for pair in comparison.against(control)
    ]
    head = ["method", "method less control [95 %]", "p (Holm)", "seeds", "verdict"]
    caption = (
        "Family: all methods against the better control, part of all pairs of methods, with their p. "
        f"{PAIRED}{_direction(comparison)}"
    )
    return Sheet(f"against the better control, {control.method.name}", head, rows, 1, caption)


def _beats(pair: Pair, control: Result) -> str:
    if pair.clear:
        return "clearly worse" if pair.a is control else "clearly better"
    return pair.verdict


def _probes(comparison: Comparison) -> Sheet:
    rows = [
        [_named(result), name, _spread(owed.cost), f"{owed.perceptual:.1%}", f"{owed.missing[-1]:.4f}"]
        for result in comparison.results
        for name, owed in result.probe.items()
    ]
    head = ["method", "shuffled", "loss of score ± 95 %", "share of the score", "all missing"]
    caption = f"Loss of score if the modality is shuffled; ± are {SEEDS_ONLY}."
    return Sheet("reliance on each modality", head, rows, 2, caption)


def _groups(comparison: Comparison) -> Sheet:
    names = list(dict.fromkeys(name for result in comparison.results for name in result.groups))
    rows = (
        [[_named(result), *(_spread(result.groups.get(name)) for name in names)] for result in comparison.results]
        if names
        else []
    )
    by = f" The data name no groups: these are by {comparison.grouped_by}." if comparison.grouped_by else ""
    caption = f"Family: groups. ± are {SEEDS_ONLY}: no test; the tests against the controls are in a table below.{by}"
    return Sheet(f"{comparison.tested} by group of samples", ["method", *names], rows, 1, caption)


def _named(result: Result) -> str:
    return f"{result.method.name} (control)" if result.method.control else result.method.name


def _row(result: Result, costs: Sequence[str]) -> list[str]:
    return [
        _named(result),
        str(len(result.method.runs)),
        _spread(result.score),
        *(short(result.costs[name]) for name in costs),
    ]


def _tested(pair: Pair, turned: bool = False) -> list[str]:
    """Return the cells of difference, p and seeds; with ``turned`` the difference is B - A."""
    difference = pair.difference
    value, low, high = difference.interval
    interval = Interval(-value, -high, -low) if turned else difference.interval
    return [points(interval), p_value(pair.p), f"{difference.seeds} {'paired' if difference.paired else 'unpaired'}"]


def p_value(p: float) -> str:
    """Return a p-value in readable form."""
    if math.isnan(p):
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _spread(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.value:.4f}" + (f" ± {interval.half:.4f}" if math.isfinite(interval.half) else "")


def short(value: float) -> str:
    """Return a number in short form: 954 k, 26.1 M, 3.2."""
    if math.isnan(value):
        return "—"
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_tables(comparison: Comparison, console: Console) -> None:
    """Print tables, notes and skipped folders to a terminal."""
    for sheet in sheets(comparison):
        print_sheet(sheet, console)
    for note in comparison.notes:
        console.print(Text(f"note: {note}"))
    for left in comparison.left:
        console.print(Text(f"left out: {left.folder}: {left.why}"))


def markdown(comparison: Comparison) -> str:
    """Return the tables and notes as Markdown."""
    parts = []
    for sheet in sheets(comparison):
        parts.append(f"**{_for_markdown(sheet.title)}**\n")
        rule = ["---" if place < sheet.words else "---:" for place in range(len(sheet.head))]
        parts += ["| " + " | ".join(map(_for_markdown, row)) + " |" for row in (sheet.head, rule, *sheet.rows)]
        parts += ["", *([_for_markdown(sheet.caption), ""] if sheet.caption else [])]
    parts += [f"- {_for_markdown(note)}" for note in comparison.notes]
    parts += [f"- left out: {_for_markdown(f'{left.folder}: {left.why}')}" for left in comparison.left]
    return "\n".join(parts) + "\n"


def _for_markdown(text: str) -> str:
    """Return a text without markup, on one line; addresses and ``@names`` do not become links or mentions."""
    if re.fullmatch(r"-+:?", text):
        return text
    text = re.sub(r"&(?=#?\w+;)", "&amp;", _one_line(text))
    escaped = re.sub(r"([\\|`*_<>\[\]$~])", r"\\\1", text)
    return re.sub(r"(?i):(?=//)|(?<=www)\.|@", lambda sign: f"&#{ord(sign[0])};", escaped)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def latex(comparison: Comparison) -> str:
    """Return the tables for LaTeX with booktabs."""
    return "\n".join(line for sheet in sheets(comparison) for line in _tabular(sheet)) + "\n"


def _tabular(sheet: Sheet) -> Iterator[str]:
    columns = "".join("l" if place < sheet.words else "r" for place in range(len(sheet.head)))
    yield f"% {_one_line(sheet.title)}"
    if sheet.caption:
        yield f"% {_one_line(sheet.caption)}"
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
    """Return a text without commands; a row that begins with ``[`` or ``*`` is no argument of the rule before it."""
    escaped = "".join(_LATEX.get(sign, sign) for sign in _one_line(text))
    return f"{{}}{escaped}" if escaped.lstrip()[:1] in ("[", "*") else escaped


def table_of_runs(comparison: Comparison) -> str:
    """Return CSV with one line per run in full precision: method, settings, costs and all figures of all splits.

    A text that a spreadsheet would evaluate as a formula begins with an apostrophe.
    """
    keys = list(dict.fromkeys(key for result in comparison.results for key in result.method.settings))
    rows = []
    for result in comparison.results:
        for run in result.method.runs:
            row = {"run": run.ident, "method": result.method.name, "fusion": run.fusion, "seed": run.seed}
            row |= {key: result.method.settings.get(key, "") for key in keys}
            row |= {name: run.record.get(name, "") for name in COSTS}
            for split, figures in run.record["scores"].items():
                row |= {f"{split}/{name}": value for name, value in figures.items()}
            rows.append(row)
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_for_csv, names))
    writer.writerows([_for_csv(row.get(name, "")) for name in names] for row in rows)
    return text.getvalue()


def _for_csv(value: Any) -> Any:
    """Return a cell that no spreadsheet evaluates; numbers stay numbers."""
    text = str(value)
    return value if isinstance(value, int | float) or _NUMBER(text) else _FORMULA.sub(r"\1'", text)


# A formula at the start of a cell, or after a sign at which a spreadsheet of another language divides cells.
_FORMULA = re.compile(r"(^|[;|\t\r\n])(?=[ ]*[-=+@\t\r\n＝＋－＠])")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:inf|nan)").fullmatch

"""Writes a comparison as Markdown, LaTeX and CSV; texts of runs stay plain text in each of them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.reading import COSTS
from velm_lightning.compare.tables import sheets
from velm_lightning.compare.views.sheet import Sheet


def markdown(comparison: Comparison) -> str:
    """Return the tables and notes as Markdown."""
    parts = []
    for sheet in sheets(comparison):
        parts.append(f"**{markdown_text(sheet.title)}**\n")
        rule = ["---" if place < sheet.words else "---:" for place in range(len(sheet.head))]
        parts += ["| " + " | ".join(map(markdown_text, row)) + " |" for row in (sheet.head, rule, *sheet.rows)]
        parts += ["", *([markdown_text(sheet.caption), ""] if sheet.caption else [])]
    parts += [f"- {markdown_text(note)}" for note in comparison.notes]
    parts += [f"- left out: {markdown_text(f'{left.folder}: {left.why}')}" for left in comparison.left]
    return "\n".join(parts) + "\n"


def markdown_text(text: str) -> str:
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
    yield " & ".join(map(latex_text, sheet.head)) + r" \\"
    yield r"\midrule"
    for row in sheet.rows:
        yield " & ".join(map(latex_text, row)) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "…": r"\dots{}",
    "—": "---", "·": r"$\cdot$", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def latex_text(text: str) -> str:
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
    writer.writerow(map(csv_cell, names))
    writer.writerows([csv_cell(row.get(name, "")) for name in names] for row in rows)
    return text.getvalue()


def csv_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet evaluates; numbers stay numbers."""
    text = str(value)
    return value if isinstance(value, int | float) or _NUMBER(text) else _FORMULA.sub(r"\1'", text)


# A formula at the start of a cell, or after a sign at which a spreadsheet of another language divides cells.
_FORMULA = re.compile(r"(^|[;|\t\r\n])(?=[ ]*[-=+@\t\r\n＝＋－＠])")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:inf|nan)").fullmatch

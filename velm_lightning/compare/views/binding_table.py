"""Writes the table of the steps after which a fusion uses image and text together."""

from __future__ import annotations

from statistics import median

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.reading import RunFolder
from velm_lightning.compare.result import Result, mean
from velm_lightning.compare.views.sheet import Sheet


def binding_sheet(comparison: Comparison) -> Sheet:
    """Return the steps to bind of every fusion whose runs evaluated while they trained, next to a control.

    A run binds at its first evaluation above the midpoint between the better control and the plateau of its method:
    the means over seeds of the best value on the validation split.
    """
    controls = {control.method.data: control for control in comparison.controls}
    rows = [
        _row(result, comparison, controls[result.method.data])
        for result in comparison.results
        if result.method.data in controls and not result.method.control
    ]
    head = ["method", "seeds that bind", "median steps", "fewest to most", "midpoint", "plateau"]
    caption = (
        "The steps until a run combines image and text: its first evaluation above the midpoint between the better "
        "control and the method's plateau, which are means over seeds of the best validation figures. As exact as "
        "evaluations are frequent; without intervals."
    )
    return Sheet(f"steps to bind: {comparison.metric.name} on val", head, [row for row in rows if row], 1, caption)


def _row(result: Result, comparison: Comparison, control: Result) -> list[str]:
    name, sign = f"val/{comparison.metric.name}", comparison.metric.sign
    curves = [_evaluations(run, name) for run in result.method.runs]
    floors = [_evaluations(run, name) for run in control.method.runs]
    if not all(curves) or not all(floors):
        return []
    plateau, floor = (mean([max(sign * value for _, value in curve) for curve in each]) for each in (curves, floors))
    midpoint, count = (plateau + floor) / 2, f"of {len(curves)}"
    if plateau <= floor:
        return [result.method.name, f"0 {count}", "—", "—", "—", f"{sign * plateau:.4f}"]
    reached = [next((step for step, value in curve if sign * value > midpoint), None) for curve in curves]
    steps = sorted(step for step in reached if step is not None)
    ends = f"{steps[0]:,.0f} to {steps[-1]:,.0f}" if steps else "—"
    middle = f"{median(steps):,.0f}" if steps else "—"
    return [
        result.method.name,
        f"{len(steps)} {count}",
        middle,
        ends,
        f"{sign * midpoint:.4f}",
        f"{sign * plateau:.4f}",
    ]


def _evaluations(run: RunFolder, name: str) -> list[tuple[float, float]]:
    """Return the values of a figure in the order of their steps, the number of optimiser steps done."""
    steps, values = run.curves.get(name, ([], []))
    return [(step + 1, value) for step, value in sorted(zip(steps, values, strict=True)) if value == value]

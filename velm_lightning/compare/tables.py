"""Collects the tables of a comparison, and prints them to a terminal."""

from __future__ import annotations

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.samples.detail_views import detail_sheets
from velm_lightning.compare.samples.group_tables import against_controls, agreement_sheet
from velm_lightning.compare.views.binding_table import binding_sheet
from velm_lightning.compare.views.meeting_table import meeting_sheet
from velm_lightning.compare.views.pair_tables import control_sheet, pair_sheet
from velm_lightning.compare.views.posterior_table import posterior_sheet
from velm_lightning.compare.views.power_table import power_sheet
from velm_lightning.compare.views.score_tables import figure_sheet, group_sheet, reliance_sheet, score_sheet
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
        score_sheet(comparison),
        meeting_sheet(comparison),
        binding_sheet(comparison),
        figure_sheet(comparison),
        pair_sheet(comparison),
        posterior_sheet(comparison),
        power_sheet(comparison),
        *(control_sheet(comparison, control) for control in comparison.controls),
        settings_sheet(comparison),
        reliance_sheet(comparison),
        group_sheet(comparison),
        against_controls(comparison),
        agreement_sheet(comparison),
        *(sheet for of_data in comparison.details.values() for sheet in detail_sheets(of_data)),
    ]


def print_tables(comparison: Comparison, console: Console) -> None:
    """Print tables, notes and skipped folders to a terminal."""
    for sheet in sheets(comparison):
        print_sheet(sheet, console)
    for note in comparison.notes:
        console.print(Text(f"note: {note}"))
    for left in comparison.left:
        console.print(Text(f"left out: {left.folder}: {left.why}"))

"""Writes the table of the settings in which methods differ, and finds those that all of them have."""

from __future__ import annotations

from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.grouping import format_setting, short_names
from velm_lightning.compare.reading import differ
from velm_lightning.compare.views.sheet import Sheet


def settings_sheet(comparison: Comparison) -> Sheet:
    """Return the table: one row per method, one column per setting; without rows if only the fusion differs."""
    columns = _differing(comparison)
    rows = [
        [result.method.name, *(_cell(result.method.settings, key) for key in columns)]
        for result in (comparison.results if columns else [])
    ]
    caption = "The settings in which these methods differ, apart from the fusion, without intervals; — means none."
    return Sheet("settings that differ", ["method", *columns.values()], rows, 1, caption)


def shared_settings(comparison: Comparison) -> dict[str, list[Any]]:
    """Return the differing settings that all methods have, apart from the fusion, with the value of each method."""
    settings = [result.method.settings for result in comparison.results]
    return {
        name: [of_method[key] for of_method in settings]
        for key, name in _differing(comparison).items()
        if all(key in of_method for of_method in settings)
    }


def _differing(comparison: Comparison) -> dict[str, str]:
    """Return the short names of the settings in which these methods differ, by key."""
    settings = [result.method.settings for result in comparison.results]
    keys = dict.fromkeys(key for of_method in settings for key in of_method)
    differing = [key for key in keys if differ(of_method.get(key) for of_method in settings)]
    return short_names([key for key in differing if key != "model.class_path"])


def _cell(settings: dict[str, Any], key: str) -> str:
    return format_setting(settings[key]) if key in settings else "—"

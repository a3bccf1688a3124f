"""The entries of ``run.json`` that a comparison uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from velm_lightning.errors import InputError
from velm_lightning.io.files import show
from velm_lightning.io.paths import is_folder_name
from velm_lightning.io.plain import check_plain

COSTS = {
    "parameters": "parameters",
    "training_flops_per_sample": "training FLOPs",
    "inference_flops_per_sample": "inference FLOPs",
    "samples_per_second": "samples/s",
    "peak_memory_mib": "peak MiB",
    "device_minutes": "minutes",
    "kwh": "kWh",
    "price": "price",
}
"""Costs of a run: their names in ``run.json`` and in tables."""


def check_record(record: Mapping[str, Any]) -> None:
    """Check the types of the entries of ``run.json`` that a comparison uses; entries may be missing."""
    check_plain(record, "run.json")
    for split, figures in _mapping(record, "scores").items():
        _expect(is_folder_name(split), "scores", split, "names of splits, which are those of files in predictions")
        for name, value in _mapping({split: figures}, split).items():
            _expect(value is None or _is_number(value), f"scores.{split}.{name}", value, "a number")
    for name in (*COSTS, "steps"):
        value = record.get(name)
        _expect(value is None or _is_number(value), name, value, "a number")
    _expect(isinstance(record.get("seed", 0), int), "seed", record.get("seed"), "a whole number")
    _expect(isinstance(record.get("modalities", []), list), "modalities", record.get("modalities"), "a list")
    for split, floors in _mapping(record, "floors").items():
        for name, floor in _mapping({split: floors}, split).items():
            answer = floor.get("answer", "") if isinstance(floor, Mapping) else ""
            _expect(isinstance(answer, str), f"floors.{split}.{name}.answer", answer, "a text")


def _mapping(entries: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entries.get(name)
    _expect(value is None or isinstance(value, Mapping), name, value, "a mapping")
    return value or {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _expect(valid: bool, name: str, value: Any, expected: str) -> None:
    if not valid:
        raise InputError(f"`{name}` in run.json is {show(value)}, expected {expected}")

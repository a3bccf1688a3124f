"""The head of the page: data, split, numbers, versions, dates and commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from velm_lightning.compare.comparison import Comparison
from velm_lightning.compare.reading import RunFolder, short_class

MOST_COMMANDS = 12
"""Maximum number of commands that are shown."""


def header(comparison: Comparison) -> list[list[str]]:
    """Return the names and values of the head of the page without entries that no run recorded."""
    return [[name, value] for name, value in _entries(comparison) if value]


def commands(runs: Sequence[RunFolder]) -> list[str]:
    """Return the different commands that started the runs, with their seeds and folders as they were."""
    lines = dict.fromkeys(_command(run.record.get("command")) for run in runs)
    return [line for line in lines if line][:MOST_COMMANDS]


def _entries(comparison: Comparison) -> Iterator[tuple[str, str]]:
    runs, split = comparison.runs, comparison.split
    yield "data", _different(dataset_of(run) for run in runs)
    yield "split", split
    yield "samples", _different(_count(run.record["scores"][split].get("samples")) for run in runs)
    yield "images", _different(f"{pair.difference.spread.images:,}" for pair in comparison.pairs)
    yield "methods", f"{len(comparison.results)}"
    yield "runs", f"{len(runs)}"
    yield "seeds", _different(str(run.seed) for run in sorted(runs, key=lambda run: run.seed))
    yield "scored by", _different(str(run.record.get("signature") or "") for run in runs)
    for package in ("velm_lightning", "torch", "python"):
        yield package, _different(str(_mapping(run.record.get("versions")).get(package) or "") for run in runs)
    starts = sorted(str(run.record["started"]) for run in runs if run.record.get("started"))
    if starts:
        yield "started", starts[0][:16] if starts[0] == starts[-1] else f"{starts[0][:16]} to {starts[-1][:16]}"


def _different(values: Any, most: int = 8) -> str:
    """Return the different values in one line."""
    different = [value for value in dict.fromkeys(values) if value]
    more = f" and {len(different) - most} more" if len(different) > most else ""
    return ", ".join(different[:most]) + more


def dataset_of(run: RunFolder) -> str:
    """Return the class of a run's data set, or the format of imported predictions; the marks tell data apart."""
    imported = _mapping(run.record.get("imported"))
    name = short_class(str(run.config.get("data.dataset.class_path") or "")) or str(imported.get("format") or "")
    marks = _mapping(run.record.get("data"))
    return " ".join(filter(None, (name, str(next(iter(marks.values()), ""))[:6])))


def _count(value: Any) -> str:
    return f"{int(value):,}" if isinstance(value, int | float) else ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _command(words: Any) -> str:
    """Return a command as a user types it."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return ""
    first = "velm" if words and PurePath(words[0]).name in ("__main__.py", "velm", "LightningCLI") else words[:1]
    return shlex.join(["velm", *words[1:]] if first == "velm" else words)

"""The settings of a run that affect its training, and their names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from velm_lightning.compare.reading.run_files import RunFiles

# Of runs/vqa/latefusion-s0-1f2e3d/checkpoints/best.ckpt only vqa/latefusion depends on the method.
_CHECKPOINT = re.compile(r"^(?:.*/)?([^/]+/[^/]+)-s\d+-[0-9a-f]{6}/checkpoints/[^/]+\.ckpt$")

# Settings that do not change the training; all others distinguish configurations.
_IRRELEVANT = (
    "seed_everything",
    "tracking",
    "test_after_fit",
    "ckpt_path",
    "checkpoint.dirpath",
    "checkpoint.verbose",
    "data.num_workers",
    "data.image_cache",
    "data.cache_dir",
    "trainer.logger",
    "trainer.log_every_n_steps",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.profiler",
)


# The location of data is irrelevant: fingerprints identify the data.
_PLACES = re.compile(r"data\..*\.root")


def training_settings(run: RunFiles) -> dict[str, Any]:
    """Return the settings of a run that affect its training, without seeds and folders."""
    return {
        key: _without_place(key, value)
        for key, value in run.config.items()
        if not any(key == name or key.startswith(f"{name}.") for name in _IRRELEVANT) and not _PLACES.fullmatch(key)
    }


def _without_place(key: str, value: Any) -> Any:
    """Return a setting without the folder of the data or the run."""
    if isinstance(value, list):
        return [_without_place(key, item) for item in value]
    if not isinstance(value, str):
        return value
    if key.startswith("data.") and is_path(value):
        return PurePath(value).name
    return _CHECKPOINT.sub(r"\1", value)


def is_path(text: str) -> bool:
    """Return whether a setting is a path that starts at a root, the home folder or the working folder."""
    return text.startswith(("/", "~", "../", "./", "\\\\")) or bool(re.match(r"[A-Za-z]:[\\/]", text))


def flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested mapping with their dotted keys."""
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def short_class(path: str) -> str:
    """Return the last word of a dotted name."""
    return str(path).rpartition(".")[2]


def differ(values: Iterable[Any]) -> bool:
    """Return whether values differ."""
    return len({json.dumps(value, sort_keys=True, default=str) for value in values}) > 1

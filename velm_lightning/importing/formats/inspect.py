"""Logs of inspect_ai: ``.eval`` (a zip with one JSON file per sample) or ``.json``.

A sample has ``id``, ``epoch``, ``input``, ``target``, ``output`` and ``scores``; the value of a score is ``C`` (1),
``P`` (0.5), ``I`` or ``N`` (0), a truth value or a number. Each epoch is a repetition of the evaluation.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from velm_lightning.importing.rows import Choices, Imported, check_keys, chosen, field, row_of
from velm_lightning.io.files import show
from velm_lightning.io.record_files import read_json
from velm_lightning.types import InputError, Prediction

_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_LARGEST = 2**31  # bytes of all samples; an archive of some kilobytes can claim any size


def read(path: Path, choices: Choices) -> Imported:
    """Read the samples; see ``formats``."""
    samples = list(_zipped(path) if zipfile.is_zipfile(path) else _listed(path))
    scorers = dict.fromkeys(name for _, sample in samples for name in sample.get("scores") or {})
    figure = chosen(list(scorers), choices.figure, "figure", path)
    epochs: dict[Any, list[Prediction]] = {}
    for where, sample in samples:
        epochs.setdefault(sample.get("epoch", 1), []).append(_row(sample, figure, choices, where))
    if not epochs:
        raise InputError(f"{path}: holds no samples: give a log that was not written with --no-log-samples")
    return Imported([check_keys(rows, path) for _, rows in sorted(epochs.items())], figure)


def _listed(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise InputError(f"{path}: is a damaged zip file: copy it again")
    whole = read_json(path)
    samples = whole.get("samples") if isinstance(whole, dict) else None
    for place, sample in enumerate(samples if isinstance(samples, list) else [], 1):
        yield _checked(sample, f"{path}: sample {place}")


def _zipped(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if m.filename.startswith("samples/") and m.filename.endswith(".json")]
        if (size := sum(member.file_size for member in members)) > _LARGEST:
            raise InputError(f"{path}: has samples of {size:,} bytes, at most {_LARGEST:,} are read: split it")
        for member in members:
            where = f"{path}/{member.filename}"
            try:
                sample = json.loads(archive.read(member))
            except NotImplementedError as error:  # zstd
                fix = f"inspect log convert --to json --output-dir . {path.name}"
                raise InputError(f"{where}: its compression cannot be read here: convert the log, `{fix}`") from error
            except (ValueError, zipfile.BadZipFile, RecursionError) as error:
                raise InputError(f"{where}: cannot be read ({error}): is the log complete?") from error
            yield _checked(sample, where)


def _checked(sample: Any, where: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(sample, dict) or "id" not in sample or not isinstance(sample.get("scores") or {}, dict):
        raise InputError(f"{where}: is {show(sample)}, expected a sample with id and scores")
    return where, sample


def _row(sample: Mapping[str, Any], figure: str, choices: Choices, where: str) -> Prediction:
    score = (sample.get("scores") or {}).get(figure) or {}
    metadata = sample.get("metadata") or {}
    answer = score.get("answer")
    return row_of(
        where,
        sample["id"],
        _completion(sample) if answer is None else answer,
        sample.get("target") or (),
        score=_value(score.get("value"), figure, where),
        group=field(metadata, choices.group, ["category"], f"{where}, metadata"),
        prompt=_prompt(sample.get("input")),
        image=field(metadata, choices.image, ["image_id"], f"{where}, metadata"),
    )


def _value(value: Any, figure: str, where: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, str) and (value in _VALUES or value.lower() in _VALUES):
        return _VALUES[value] if value in _VALUES else _VALUES[value.lower()]
    raise InputError(f"{where}: the score {figure} is {show(value)}, expected C, P, I, N, a truth value or a number")


def _completion(sample: Mapping[str, Any]) -> str:
    """Return the text of the first choice of the output."""
    output = sample.get("output") or {}
    choices = output.get("choices") or [{}]
    return output.get("completion") or _text((choices[0].get("message") or {}).get("content"))


def _prompt(given: Any) -> str:
    """Return the text of the last message of the input."""
    return _text(given[-1].get("content")) if isinstance(given, list) and given else _text(given)


def _text(content: Any) -> str:
    """Return a content as text: a text, or the text parts of a list."""
    if isinstance(content, list):
        return " ".join(str(part.get("text") or "") for part in content if isinstance(part, dict)).strip()
    return str(content or "")

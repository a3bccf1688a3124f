"""Reads run folders for a comparison: records, configs, curves and predictions, without torch."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from velm_lightning.errors import InputError
from velm_lightning.io.files import show
from velm_lightning.io.paths import is_folder_name
from velm_lightning.io.plain import LARGEST, check_plain, number_of, text_of
from velm_lightning.io.yaml_files import load_yaml

MISSING = float("nan")
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


class Scores(NamedTuple):
    """The predictions of a run in columns, without samples that have no score.

    Attributes:
        keys: N sample keys.
        images: N names of images; the key of the sample if the file names none.
        groups: N names of groups.
        values: (N,) scores.
        losses: (N,) losses, NaN for samples without a finite one.
        predictions: N predictions.
        references: N tuples of references.
        prompts: N prompts.
        confidences: (N,) probabilities of the predictions, NaN for samples without one.
    """

    keys: tuple[str, ...]
    images: tuple[str, ...]
    groups: tuple[str, ...]
    values: NDArray[np.float64]
    losses: NDArray[np.float64]
    predictions: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    prompts: tuple[str, ...]
    confidences: NDArray[np.float64]

    def of_group(self, name: str) -> Scores:
        """Return the samples of one group."""
        chosen = [place for place, group in enumerate(self.groups) if group == name]
        return Scores(*(_pick(column, chosen) for column in self))


def _pick(column: Any, places: list[int]) -> Any:
    return column[places] if isinstance(column, np.ndarray) else tuple(column[place] for place in places)


class RunFolder:
    """A finished run.

    Attributes:
        folder: its folder.
        record: its ``run.json``.
        config: its ``config.yaml`` with dotted keys; only the method for predictions from ``velm import``.

    Raises:
        InputError: If the folder holds no run that can be compared; the message gives the reason.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_json(folder / "run.json")
        status = self.record.get("status", "unknown")
        if status != "finished":
            raise InputError(f"its status is {status!r}; only finished runs are compared")
        scores = self.record.get("scores")
        if not scores:
            raise InputError("it was not evaluated: run.json has no scores")
        if not isinstance(scores, dict) or not all(isinstance(figures, dict) for figures in scores.values()):
            raise InputError("`scores` in run.json must be a mapping from splits to figures")
        _check_record(self.record)
        self.config = {"model.class_path": self._imported} if self._imported else dict(flat(self._settings()))
        if not self._class_path:
            raise InputError("neither config.yaml nor run.json names the class of its model (model.class_path)")

    def _settings(self) -> dict[str, Any]:
        settings = read_yaml(self.folder / "config.yaml")
        check_plain(settings, "config.yaml")
        return settings

    @property
    def _imported(self) -> str:
        """The name of the system whose predictions were imported; empty for a run of this package."""
        imported = self.record.get("imported")
        return str(imported.get("method") or "") if isinstance(imported, dict) else ""

    @property
    def ident(self) -> str:
        """The id of the run."""
        return str(self.record.get("id", self.folder.name))

    @property
    def seed(self) -> int:
        """The seed of training."""
        return int(self.record.get("seed", 0))

    @property
    def fusion(self) -> str:
        """The class of its model, without the module, or the name of the system whose predictions were imported."""
        return self._imported or short_class(self._class_path)

    @property
    def _class_path(self) -> str:
        model = self.record.get("model")
        recorded = model.get("class_path") if isinstance(model, dict) else None
        return str(self.config.get("model.class_path") or recorded or "")

    @property
    def data(self) -> str:
        """The data and scorer of its figures: fingerprints of the splits and the signature, as JSON."""
        return json.dumps([self.record.get("data"), self.record.get("signature")], sort_keys=True)

    def figure(self, split: str, name: str = "score") -> float:
        """Return a figure of a split, or NaN if there is none."""
        return number_of((self.record["scores"].get(split) or {}).get(name))

    @property
    def monitored(self) -> tuple[str, bool]:
        """The figure by which its checkpoint was chosen, and whether lower is better."""
        name = str(self.config.get("checkpoint.monitor") or "val/score")
        mode = self.config.get("checkpoint.mode")
        return name.removeprefix("val/"), mode == "min" if mode else name.endswith(("loss", "rank", "perplexity"))

    def floors(self, split: str, metric: str = "score") -> dict[str, float]:
        """Return a metric of the majority answer and of other answers without a model, by their names in a table."""
        floors_of_split = (self.record.get("floors") or {}).get(split) or {}
        return {
            f"{name} answer {floor['answer'][:40]!r}" if "answer" in floor else name: float(floor[metric])
            for name, floor in floors_of_split.items()
            if isinstance(floor, dict) and isinstance(floor.get(metric), (int, float))
        }

    def cost(self, name: str) -> float:
        """Return a number of the record, or NaN if there is none."""
        return number_of(self.record.get(name))

    @cached_property
    def curves(self) -> dict[str, tuple[list[float], list[float]]]:
        """The steps and values of all logged metrics; empty if there is no ``metrics.csv``.

        Raises:
            InputError: If the file cannot be read.
        """
        try:
            return _curves(text_of(self.folder / "metrics.csv"))
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
            raise InputError(f"metrics.csv cannot be read: {error}") from error

    @cached_property
    def probe(self) -> dict[str, Any]:
        """The results of ``velm probe``; empty if there are none, or they are incomplete."""
        try:
            probe = read_json(self.folder / "probe.json")
            shares = [float(share) for share in probe["shares"]]
            for modality, shuffled in probe["shuffled"].items():
                numbers = [shuffled["cost"], shuffled["perceptual"], *probe["missing"][modality]]
                if len(numbers) != 2 + len(shares) or not all(abs(float(number)) < LARGEST for number in numbers):
                    return {}
            return probe | {"shares": shares, "split": str(probe["split"])}
        except (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return {}

    def rows(self, split: str) -> list[dict[str, Any]]:
        """Return the prediction rows of a split.

        Raises:
            InputError: If the file is missing or incomplete.
        """
        try:
            return self._lines(f"{split}.jsonl")
        except FileNotFoundError:
            raise InputError(f"it has no predictions/{split}.jsonl") from None

    def _lines(self, name: str) -> list[dict[str, Any]]:
        """Return the objects of a file of JSON lines in ``predictions``."""
        try:
            text = text_of(self.folder / "predictions" / name)
            lines = filter(None, text.split("\n"))  # a prediction may contain other line ends
            rows: list[dict[str, Any]] = json.loads(f"[{','.join(lines)}]")
        except FileNotFoundError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"predictions/{name} cannot be read: {error}") from error
        if not all(isinstance(row, dict) for row in rows):
            raise InputError(f"predictions/{name} cannot be read: it has lines that are not JSON objects")
        return rows

    def scores(self, split: str) -> Scores:
        """Return the predictions of a split in columns.

        Raises:
            InputError: As ``rows``; or if a row lacks a field or has a score that is not finite, or the number of rows
                is not that of the evaluated samples.
        """
        rows = self.rows(split)
        expected = self.record["scores"][split].get("samples", len(rows))
        if len(rows) != expected:
            raise InputError(f"predictions/{split}.jsonl has {len(rows)} rows, {expected} samples were evaluated")
        try:
            for row in rows:
                _text(row["key"])
                _text(row.get("image") or "")
            scored = [row for row in rows if row["score"] is not None]
            if not np.all(np.abs([row["score"] for row in scored]) <= LARGEST):
                raise InputError(f"predictions/{split}.jsonl has scores that are not finite")
            return Scores(
                keys=tuple(_text(row["key"]) for row in scored),
                images=tuple(_text(row.get("image") or row["key"]) for row in scored),
                groups=tuple(_text(row.get("group") or "") for row in scored),
                values=np.array([row["score"] for row in scored], float),
                losses=np.array([number_of(row.get("loss")) for row in scored], float),
                predictions=tuple(_text(str(row.get("prediction", ""))) for row in scored),
                references=tuple(tuple(_text(str(text)) for text in row.get("references") or ()) for row in scored),
                prompts=tuple(_text(str(row.get("prompt") or "")) for row in scored),
                confidences=np.array([number_of(row.get("confidence")) for row in scored], float),
            )
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InputError(f"predictions/{split}.jsonl has rows that are not predictions: {error}") from error

    def thumbnails(self, split: str) -> dict[str, str]:
        """Return the thumbnails as JPEG in base64, by the name of the image; empty if there are none.

        Raises:
            InputError: If the file cannot be read.
        """
        name = f"{split}.pictures.jsonl"
        try:
            return {_text(row["image"]): _text(row["jpeg"]) for row in self._lines(name)}
        except FileNotFoundError:
            return {}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"predictions/{name} has rows that are not thumbnails: {error}") from error

    def check_drawn(self) -> None:
        """Check the files that only a dashboard shows: curves and thumbnails.

        Raises:
            InputError: If one of them cannot be read.
        """
        _ = self.curves
        for split in self.record["scores"]:
            self.thumbnails(split)


def _curves(text: str) -> dict[str, tuple[list[float], list[float]]]:
    """Return the steps and values of the columns of ``metrics.csv``."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
        step = number_of(row.pop("step"))
        for name, value in row.items():
            if value:
                steps, values = curves.setdefault(_text(name), ([], []))
                steps.append(step)
                values.append(number_of(value))
    return curves


def _text(value: Any) -> str:
    """Return a value that must be a text that can be printed."""
    if not isinstance(value, str):
        raise TypeError(f"{show(value)} is not a text")
    value.encode()  # raises a ValueError for half of a pair of surrogates
    return value


def _check_record(record: Mapping[str, Any]) -> None:
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


class SkippedRun(NamedTuple):
    """A folder that was left out, with the reason."""

    folder: Path
    why: str


def read_runs(places: Sequence[Path], drawn: bool = False) -> tuple[list[RunFolder], list[SkippedRun]]:
    """Read the runs in ``places``: run folders, experiments, or folders of experiments.

    If several runs have the same configuration and seed, the latest is kept.

    Args:
        places: the folders.
        drawn: whether the files that only a dashboard shows must be readable, too.

    Raises:
        InputError: If a place does not exist or holds no runs.
    """
    runs: list[RunFolder] = []
    left: list[SkippedRun] = []
    for folder in dict.fromkeys(run_folder for place in places for run_folder in _folders(place)):
        try:
            run = RunFolder(folder)
            if drawn:
                run.check_drawn()
            runs.append(run)
        except InputError as error:
            left.append(SkippedRun(folder, str(error)))
    latest: dict[str, RunFolder] = {}
    for run in sorted(runs, key=lambda run: str(run.record.get("started", ""))):
        settings = {key: value for key, value in training_settings(run).items() if value is not None}  # as if absent
        mark = json.dumps([run.data, run.seed, settings], sort_keys=True, default=str)
        if mark in latest:
            left.append(SkippedRun(latest[mark].folder, f"{run.ident} repeats its configuration and seed"))
        latest[mark] = run
    kept = set(map(id, latest.values()))
    return [run for run in runs if id(run) in kept], left


def _folders(place: Path) -> Iterator[Path]:
    try:
        is_run = (place / "run.json").exists() or (place / "config.yaml").exists()
    except OSError as error:  # no permission, or a name that is too long
        raise InputError(f"{place} cannot be read ({error.strerror}): name a folder of a run or of runs") from error
    if is_run:
        yield place
        return
    if not place.is_dir():
        raise InputError(f"{place} does not exist: name a folder of a run or of runs")
    marks = ("run.json", "config.yaml")
    folders = {path.parent for depth in ("*", "*/*") for mark in marks for path in place.glob(f"{depth}/{mark}")}
    if not folders:
        raise InputError(f"{place} holds no runs: name a run, or a folder of runs")
    yield from sorted(folders)


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


def training_settings(run: RunFolder) -> dict[str, Any]:
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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: If the file is missing, incomplete, or not a JSON object.
    """
    record = _parsed(path, json.loads, ValueError)
    if not isinstance(record, dict):
        raise InputError(f"{path.name} must hold a JSON object, got {type(record).__name__}")
    return record


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InputError: If the file is missing, malformed, or not a mapping.
    """
    settings = _parsed(path, load_yaml, InputError)
    if not isinstance(settings, dict):
        raise InputError(f"{path.name} must hold a mapping of settings, got {type(settings).__name__}")
    return settings


def _parsed(path: Path, parse: Any, fault: type[Exception]) -> Any:
    try:
        return parse(text_of(path))
    except FileNotFoundError:
        raise InputError(f"it has no {path.name}") from None
    except (OSError, ValueError, RecursionError, fault) as error:
        raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}") from error


def differ(values: Iterable[Any]) -> bool:
    """Return whether values differ."""
    return len({json.dumps(value, sort_keys=True, default=str) for value in values}) > 1

"""A finished run: its figures, predictions and thumbnails."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from typing_extensions import override

from velm_lightning.compare.reading.files import printable, read_json, read_lines
from velm_lightning.compare.reading.run_files import RunFiles
from velm_lightning.compare.reading.scores import Scores, scores_of
from velm_lightning.errors import InputError
from velm_lightning.io.plain import LARGEST, number_of

KINDS = ("evidence", "attention")
"""The kinds of stored maps."""


class RunFolder(RunFiles):
    """A finished run.

    Raises:
        InputError: If the folder holds no run that can be compared; the message gives the reason.
    """

    @override
    def check(self) -> None:
        status = self.record.get("status", "unknown")
        if status != "finished":
            raise InputError(f"its status is {status!r}; only finished runs are compared")
        scores = self.record.get("scores")
        if not scores:
            raise InputError("it was not evaluated: run.json has no scores")
        if not isinstance(scores, dict) or not all(isinstance(figures, dict) for figures in scores.values()):
            raise InputError("`scores` in run.json must be a mapping from splits to figures")

    def floors(self, split: str, metric: str = "score") -> dict[str, float]:
        """Return a metric of the majority answer and of other answers without a model, by their names in a table."""
        floors_of_split = (self.record.get("floors") or {}).get(split) or {}
        return {
            f"{name} answer {floor['answer'][:40]!r}" if "answer" in floor else name: float(floor[metric])
            for name, floor in floors_of_split.items()
            if isinstance(floor, dict) and isinstance(floor.get(metric), (int, float))
        }

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
            return read_lines(self.folder, f"{split}.jsonl")
        except FileNotFoundError:
            raise InputError(f"it has no predictions/{split}.jsonl") from None

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
        return scores_of(rows, f"predictions/{split}.jsonl")

    def thumbnails(self, split: str) -> dict[str, str]:
        """Return the thumbnails as JPEG in base64, by the name of the image; empty if there are none.

        Raises:
            InputError: If the file cannot be read.
        """
        name = f"{split}.pictures.jsonl"
        try:
            return {printable(row["image"]): printable(row["jpeg"]) for row in read_lines(self.folder, name)}
        except FileNotFoundError:
            return {}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"predictions/{name} has rows that are not thumbnails: {error}") from error

    def maps(self, split: str) -> dict[str, dict[str, Any]]:
        """Return the maps of evidence and attention, rows of numbers by their kind, by the keys of samples.

        Raises:
            InputError: If the file cannot be read.
        """
        name = f"{split}.maps.jsonl"
        try:
            return {printable(row["key"]): _maps_of(row) for row in read_lines(self.folder, name)}
        except FileNotFoundError:
            return {}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"predictions/{name} has rows that are not maps: {error}") from error

    def check_drawn(self) -> None:
        """Check the files that only a dashboard shows: curves, thumbnails and maps.

        Raises:
            InputError: If one of them cannot be read.
        """
        _ = self.curves
        for split in self.record["scores"]:
            self.thumbnails(split)
            self.maps(split)


def _maps_of(row: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Return the maps of a row, each with rows of the same length."""
    maps = {kind: [list(map(number_of, cells)) for cells in row[kind]] for kind in KINDS if row.get(kind)}
    for kind, cells in maps.items():
        if not cells[0] or len({len(line) for line in cells}) > 1:
            raise ValueError(f"{kind} is no grid")
    return maps

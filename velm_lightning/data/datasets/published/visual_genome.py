"""Visual Genome (Krishna et al. 2017, arXiv:1602.07332): questions about images, and descriptions of their regions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.data.datasets.published.captioned import caption_text, id_text
from velm_lightning.data.images.folder import numbered_files
from velm_lightning.io.files import fault, show
from velm_lightning.io.paths import user_path
from velm_lightning.io.record_files import TableRow, read_json
from velm_lightning.types import SPLITS, InputError, Sample

_FILES = {"questions": ("question_answers.json", "qas"), "regions": ("region_descriptions.json", "regions")}


class VisualGenome(FileDataset):
    """Questions with one answer each, or regions with a phrase each, from the official files.

    A question's answer is a label, in lower case and without its full stop, and its group is its first word. A region's
    prompt is its box, ``left top right bottom`` in percent of the image, and its target is the phrase. There are no
    official splits: images are divided by a digest of their number.

    Args:
        root: Folder to which ``images`` is relative, with ``question_answers.json``, or with
            ``region_descriptions.json`` and ``image_data.json``.
        content: What a sample is about.
        images: Folder with all images, such as that of ``VG_100K`` and ``VG_100K_2``.
        val: Share of the images for validation; likewise ``test``.
        test: Share of the images for testing.
        options: ``links`` and ``absolute_names`` of images; see ``FileDataset``.
    """

    def __init__(
        self,
        root: Path = Path("."),
        content: Literal["questions", "regions"] = "questions",
        images: Path = Path("."),
        val: float = 0.05,
        test: float = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(user_path(root) / images, **options)
        self.root, self.content, self.shares = user_path(root), content, {"val": val, "test": test}
        if not (val >= 0 and test >= 0 and val + test < 1):  # also not a number
            raise InputError(f"val={val} and test={test} must be at least 0, and below 1 together")

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        file, key = _FILES[self.content]
        path = self.root / file
        images, sizes = numbered_files(self.images), self._sizes() if self.content == "regions" else {}
        samples: dict[str, Located] = {}
        for row in _entries(path, key, problems):
            try:
                number = row.values["image"]
                if self._split(number) == name:
                    if number not in images:
                        raise InputError(f"{row.where}: no image {number}.jpg in {self.images}: correct the folder")
                    image = self.image_file(images[number].relative_to(self.images).as_posix(), row.where)
                    sample = _question(row, image) if key == "qas" else _region(row, image, sizes)
                    add(samples, Located(row.where, sample))
            except InputError as error:
                fault(error, problems)
        return list(samples.values())

    def _split(self, number: int) -> str:
        place = int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8], "big") / 2**64
        ends = (("test", self.shares["test"]), ("val", self.shares["val"] + self.shares["test"]))
        return next((split for split, end in ends if place < end), SPLITS[0])

    def _sizes(self) -> dict[int, tuple[float, float]]:
        """Return width and height of each image."""
        path = self.root / "image_data.json"
        entries: Any = read_json(path)
        try:
            return {entry["image_id"]: (float(entry["width"]), float(entry["height"])) for entry in entries}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: an image lacks image_id, width or height: is it the official file?") from error


def _entries(path: Path, key: str, problems: list[str] | None) -> Iterator[TableRow]:
    """Yield the questions or regions of all images, with the number of their image under ``image``."""
    images: Any = read_json(path)
    if not isinstance(images, list):
        raise InputError(f"{path}: is no list of images: is it the official file?")
    for place, image in enumerate(images, 1):
        entries = image.get(key) if isinstance(image, dict) else None
        number = image.get("id", image.get("image_id")) if isinstance(image, dict) else None
        if not isinstance(entries, list) or isinstance(number, bool) or not isinstance(number, int):
            fault(InputError(f"{path}: image {place} has no id or no list {key!r}: {show(image)}"), problems)
            continue
        for entry in entries:
            where = f"{path}: image {number}"
            if isinstance(entry, dict):
                yield TableRow(where, entry | {"image": number})
            else:
                fault(InputError(f"{where}: {show(entry)} is no record: correct it"), problems)


def _question(row: TableRow, image: Path) -> Sample:
    text = caption_text(row.values.get("question"), row.where, "question")
    answer = caption_text(row.values.get("answer"), row.where, "answer").rstrip(".").lower() or "."
    key = id_text(row.values.get("qa_id"), "qa_id", row.where)
    return Sample(key, image, text, {answer: 1.0}, (answer,), text.split()[0].lower())


def _region(row: TableRow, image: Path, sizes: Mapping[int, tuple[float, float]]) -> Sample:
    phrase = caption_text(row.values.get("phrase"), row.where, "phrase")
    key = id_text(row.values.get("region_id"), "region_id", row.where)
    box = [row.values.get(name) for name in ("x", "y", "width", "height")]
    if not all(isinstance(value, int | float) for value in box):
        raise InputError(f"{row.where}: region {key} has the box {show(box)}: give x, y, width and height")
    if row.values["image"] not in sizes:
        raise InputError(f"{row.where}: is not in image_data.json: use the files of one version")
    width, height = sizes[row.values["image"]]
    x, y, across, down = (float(value) for value in box if value is not None)
    sides = (x / width, y / height, (x + across) / width, (y + down) / height)
    text = " ".join(str(round(100 * min(1.0, max(0.0, side)))) for side in sides)
    return Sample(key, image, text, phrase, (phrase,))

"""The splits of Karpathy & Fei-Fei (2015, arXiv:1412.2306), on which most captioning and retrieval figures stand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from velm_lightning.data.datasets.captioned import (
    Caption,
    CaptionDataset,
    Picture,
    caption_text,
    id_text,
    picture_file,
    records,
)
from velm_lightning.io.files import TableRow, fault, read_json, show
from velm_lightning.types import InputError

_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}


class Karpathy(CaptionDataset):
    """Pictures with captions from ``dataset_coco.json``, ``dataset_flickr8k.json`` or ``dataset_flickr30k.json``.

    The part ``restval`` of COCO, 30,504 images of val2014 in neither ``val`` nor ``test``, is trained on, as is usual.
    In training there is a sample a caption, with the key "image id-sentence id"; elsewhere one an image. An image's id
    is its ``cocoid``, so that predictions are COCO results, or its ``imgid`` where it has none.

    Args:
        root: folder that the other names are relative to.
        file: the file of all splits.
        images: folder of the pictures; those of COCO lie in ``train2014/`` and ``val2014/`` below it.
    """

    official = True

    def __init__(
        self, root: Path = Path("."), file: Path = Path("dataset_coco.json"), images: Path = Path(".")
    ) -> None:
        super().__init__(Path(root) / images)
        self.file = Path(root) / file

    def pictures(self, name: str, problems: list[str] | None = None) -> Iterator[Picture]:
        """See ``CaptionDataset.pictures``."""
        fields = ("imgid", "filename", "split", "sentences")
        seen: set[str] = set()
        for row in records(read_json(self.file), self.file, "images", fields, problems):
            try:
                key = image_id(row)
                if key in seen:
                    raise InputError(f"{row.where}: image {key} is listed twice: remove one")
                seen.add(key)
                if _split(row) == name:
                    yield self._picture(row, key)
            except InputError as error:
                fault(error, problems)

    def _picture(self, row: TableRow, key: str) -> Picture:
        folder = row.values.get("filepath", "")
        if not isinstance(folder, str):
            raise InputError(f"{row.where}: filepath is {show(folder)}: give the folder below {self.images}")
        image = picture_file(self.images, _joined(folder, row.values["filename"]), row.where)
        return Picture(row.where, key, image, list(captions_of(row, key)))


def _joined(folder: str, name: object) -> object:
    return f"{folder}/{name}" if folder and isinstance(name, str) and name else name


def image_id(row: TableRow) -> str:
    """Return the id that COCO gave an image, or its number in the file.

    Raises:
        InputError: it is no whole number and no text.
    """
    name = "cocoid" if "cocoid" in row.values else "imgid"
    return id_text(row.values[name], name, row.where)


def _split(row: TableRow) -> str:
    """Return which of our splits an image is in."""
    said = row.values["split"]
    if not isinstance(said, str) or said not in _SPLITS:
        raise InputError(f"{row.where}: split is {show(said)}: use {', '.join(_SPLITS)}")
    return _SPLITS[said]


def captions_of(row: TableRow, key: str) -> Iterator[Caption]:
    """Yield the captions of an image as they were written.

    Raises:
        InputError: there are none, or one has no text or no number of its own.
    """
    found = row.values["sentences"]
    if not isinstance(found, list) or not found:
        raise InputError(f"{row.where}: sentences are {show(found)}: write a caption or remove the image")
    seen: set[str] = set()
    for one in found:
        if not isinstance(one, dict) or not {"raw", "sentid"} <= one.keys():
            raise InputError(f'{row.where}: a sentence is {show(one)}: write {{"raw": "a dog runs", "sentid": 1}}')
        number = id_text(one["sentid"], "sentid", row.where)
        if number in seen:
            raise InputError(f"{row.where}: sentid {number} is listed twice: give each sentence its own")
        seen.add(number)
        yield Caption(f"{key}-{number}", caption_text(one["raw"], f"{row.where}, sentid {number}"))

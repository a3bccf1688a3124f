"""The splits of Karpathy & Fei-Fei (2015, arXiv:1412.2306), used by most captioning and retrieval papers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import override

from velm_lightning.data.datasets.published.captioned import (
    Caption,
    CaptionDataset,
    CaptionedImage,
    caption_text,
    id_text,
    records,
)
from velm_lightning.io.files import fault, show
from velm_lightning.io.paths import user_path
from velm_lightning.io.record_files import TableRow, read_json
from velm_lightning.types import InputError

_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}


class Karpathy(CaptionDataset):
    """Images with captions from ``dataset_coco.json``, ``dataset_flickr8k.json`` or ``dataset_flickr30k.json``.

    The part ``restval`` of COCO, 30,504 images of val2014 in neither ``val`` nor ``test``, is part of ``train``.
    Training has one sample per caption, with the key "image id-sentence id"; evaluation has one per image. The image id
    is ``cocoid``, so that predictions are COCO results, or ``imgid`` if there is none.

    Args:
        root: Folder to which the other paths are relative.
        file: File of all splits.
        images: Folder of the images; those of COCO are in ``train2014/`` and ``val2014/`` below it.
        options: ``links`` and ``absolute_names`` of images; see ``FileDataset``.
    """

    official = True

    def __init__(
        self,
        root: Path = Path("."),
        file: Path = Path("dataset_coco.json"),
        images: Path = Path("."),
        **options: Any,
    ) -> None:
        super().__init__(user_path(root) / images, **options)
        self.file = user_path(root) / file

    @override
    def captioned_images(self, name: str, problems: list[str] | None = None) -> Iterator[CaptionedImage]:
        fields = ("imgid", "filename", "split", "sentences")
        ids: set[str] = set()
        for row in records(read_json(self.file), self.file, "images", fields, problems):
            try:
                key = image_id(row)
                if key in ids:
                    raise InputError(f"{row.where}: image {key} is listed twice: remove one")
                ids.add(key)
                if _split(row) == name:
                    yield self._captioned_image(row, key)
            except InputError as error:
                fault(error, problems)

    def _captioned_image(self, row: TableRow, key: str) -> CaptionedImage:
        folder = row.values.get("filepath", "")
        if not isinstance(folder, str):
            raise InputError(f"{row.where}: filepath is {show(folder)}: give the folder below {self.images}")
        image = self.image_file(_joined(folder, row.values["filename"]), row.where)
        return CaptionedImage(row.where, key, image, list(captions_of(row, key)))


def _joined(folder: str, name: object) -> object:
    return f"{folder}/{name}" if folder and isinstance(name, str) and name else name


def image_id(row: TableRow) -> str:
    """Return the COCO id of an image, or its number in the file.

    Raises:
        InputError: The id is neither an integer nor a string.
    """
    name = "cocoid" if "cocoid" in row.values else "imgid"
    return id_text(row.values[name], name, row.where)


def _split(row: TableRow) -> str:
    """Return the split of an image."""
    split = row.values["split"]
    if not isinstance(split, str) or split not in _SPLITS:
        raise InputError(f"{row.where}: split is {show(split)}: use {', '.join(_SPLITS)}")
    return _SPLITS[split]


def captions_of(row: TableRow, key: str) -> Iterator[Caption]:
    """Yield the untokenised captions of an image.

    Raises:
        InputError: There are none, or one lacks a text or a unique number.
    """
    sentences = row.values["sentences"]
    if not isinstance(sentences, list) or not sentences:
        raise InputError(f"{row.where}: sentences are {show(sentences)}: write a caption or remove the image")
    ids: set[str] = set()
    for entry in sentences:
        if not isinstance(entry, dict) or not {"raw", "sentid"} <= entry.keys():
            raise InputError(f'{row.where}: a sentence is {show(entry)}: write {{"raw": "a dog runs", "sentid": 1}}')
        number = id_text(entry["sentid"], "sentid", row.where)
        if number in ids:
            raise InputError(f"{row.where}: sentid {number} is listed twice: give each sentence its own")
        ids.add(number)
        yield Caption(f"{key}-{number}", caption_text(entry["raw"], f"{row.where}, sentid {number}"))

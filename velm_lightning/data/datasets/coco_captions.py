"""Captions in the format of COCO (Chen et al. 2015, arXiv:1504.00325): one JSON file a split beside the pictures."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from velm_lightning.data.datasets.captioned import (
    Caption,
    CaptionDataset,
    Picture,
    caption_text,
    id_text,
    picture_file,
    records,
)
from velm_lightning.data.datasets.columns import meant
from velm_lightning.data.datasets.holdout import check_holdout, part_of
from velm_lightning.io.files import fault, read_json
from velm_lightning.types import InputError


class Folders(TypedDict, total=False):
    """Where the pictures of each file lie, below ``images``."""

    train: str
    val: str
    test: str


class _Said(NamedTuple):
    """What the annotations say of one image, and where the first of them stands."""

    where: str
    captions: list[Caption]


class COCOCaptions(CaptionDataset):
    """Pictures with captions: ``images`` with ``id`` and ``file_name``, ``annotations`` with ``image_id``, ``caption``.

    In training there is a sample a caption, with the key "image id-annotation id"; elsewhere one an image, with the
    image's id, so that predictions are COCO results. A test file may have no annotations, as those of COCO.

    Args:
        root: folder that the other names are relative to.
        train: file of the training split, and so on; a split without a file is empty.
        images: folder of the pictures.
        folders: folders below ``images`` where each file has its own, as ``{train: train2014, val: val2014}``.
        holdout: share of the training *images*, chosen by their content and name, that become the validation
            split: the same picture under two names is on one side.
    """

    def __init__(
        self,
        root: Path = Path("."),
        train: Path | None = None,
        val: Path | None = None,
        test: Path | None = None,
        images: Path = Path("."),
        folders: Folders | None = None,
        holdout: float = 0.0,
    ) -> None:
        super().__init__(Path(root) / images)
        self.files = {"train": train, "val": val, "test": test}
        self.root, self.holdout = Path(root), holdout
        self.folders: dict[str, Any] = dict(folders or {})
        for name in self.folders.keys() - self.files.keys():
            near = difflib.get_close_matches(name, self.files, 1)
            raise InputError(f"folders.{name} is not one of {', '.join(self.files)}{meant(near)}")
        if not any(self.files.values()):
            raise InputError("name at least one file: train, val or test")
        check_holdout(holdout, train, val)

    def pictures(self, name: str, problems: list[str] | None = None) -> Iterator[Picture]:
        """See ``CaptionDataset.pictures``."""
        held = bool(self.holdout) and name == "val"
        source = "train" if held else name
        file = self.files[source]
        if file is None:
            return
        found = _read(self.root / file, self.images / self.folders.get(source, ""), name == "test", problems)
        if not self.holdout or name == "test":
            yield from found
            return
        yield from part_of(
            list(found),
            self.holdout,
            held,
            lambda one: one.image.relative_to(self.images).as_posix(),
            lambda one: [one.image],
        )


def _read(path: Path, folder: Path, secret: bool, problems: list[str] | None) -> Iterator[Picture]:
    """Yield the images of a file with their captions, and tell of what does not belong together."""
    whole = read_json(path)
    secret = secret and isinstance(whole, dict) and not whole.get("annotations")
    said = {} if secret else _annotations(whole, path, problems)
    seen: set[str] = set()
    for row in records(whole, path, "images", ("id", "file_name"), problems):
        try:
            key = id_text(row.values["id"], "id", row.where)
            if key in seen:
                raise InputError(f"{row.where}: this image is listed twice: remove one")
            seen.add(key)
            if not secret and key not in said:
                raise InputError(f"{row.where}: has no annotation: write a caption or remove the image")
            captions = said[key].captions if key in said else []
            image = picture_file(folder, row.values["file_name"], row.where)
        except InputError as error:
            fault(error, problems)
            continue
        if captions or secret:  # where all its captions are at fault, that has been told
            yield Picture(row.where, key, image, captions)
    for key, one in said.items():
        if key not in seen:
            fault(InputError(f"{one.where}: image_id {key} is not among the {len(seen)} images: list it"), problems)


def _annotations(whole: object, path: Path, problems: list[str] | None) -> dict[str, _Said]:
    """Return what is said of each image, in the order of the file."""
    said: dict[str, _Said] = {}
    seen: set[str] = set()
    for row in records(whole, path, "annotations", ("id", "image_id", "caption"), problems):
        try:
            key = id_text(row.values["id"], "id", row.where)
            image = id_text(row.values["image_id"], "image_id", row.where)
            captions = said.setdefault(image, _Said(row.where, [])).captions
            if key in seen:
                raise InputError(f"{row.where}: this annotation is listed twice: give each its own id")
            seen.add(key)
            captions.append(Caption(f"{image}-{key}", caption_text(row.values["caption"], row.where)))
        except InputError as error:
            fault(error, problems)
    return said

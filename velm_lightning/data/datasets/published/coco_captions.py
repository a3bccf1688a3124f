"""COCO captions (Chen et al. 2015, arXiv:1504.00325): one JSON file per split and a folder of images."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from typing_extensions import override

from velm_lightning.data.datasets.holdout import check_holdout, holdout_part
from velm_lightning.data.datasets.published.captioned import (
    Caption,
    CaptionDataset,
    CaptionedImage,
    caption_text,
    id_text,
    records,
)
from velm_lightning.data.datasets.readers.column_names import suggestion
from velm_lightning.io.files import fault
from velm_lightning.io.paths import user_path
from velm_lightning.io.record_files import read_json
from velm_lightning.types import InputError


class Folders(TypedDict, total=False):
    """Subfolder of ``images`` per split."""

    train: str
    val: str
    test: str


class _Annotations(NamedTuple):
    """The captions of one image and the location of the first."""

    where: str
    captions: list[Caption]


class COCOCaptions(CaptionDataset):
    """Images with captions: ``images`` with ``id`` and ``file_name``, ``annotations`` with ``image_id``, ``caption``.

    Training has one sample per caption, with the key "image id-annotation id"; evaluation has one per image, with
    the image id as key, so that predictions are COCO results. A test file may lack annotations, as those of COCO.

    Args:
        root: Folder to which the other paths are relative.
        train: File of the training split; likewise ``val`` and ``test``. None means an empty split.
        images: Folder of the images.
        folders: Subfolder of ``images`` per split, e.g. ``{train: train2014, val: val2014}``.
        holdout: Share of the training *images*, chosen by content and name, that become the validation split;
            copies of an image are in the same split.
        options: ``links`` and ``absolute_names`` of images; see ``FileDataset``.
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
        **options: Any,
    ) -> None:
        super().__init__(user_path(root) / images, **options)
        self.files = {"train": train, "val": val, "test": test}
        self.root, self.holdout = user_path(root), holdout
        self.folders: dict[str, Any] = dict(folders or {})
        for name in self.folders.keys() - self.files.keys():
            near = difflib.get_close_matches(name, self.files, 1)
            raise InputError(f"folders.{name} is not one of {', '.join(self.files)}{suggestion(near)}")
        if not any(self.files.values()):
            raise InputError("name at least one file: train, val or test")
        check_holdout(holdout, train, val)

    @override
    def captioned_images(self, name: str, problems: list[str] | None = None) -> Iterator[CaptionedImage]:
        held = bool(self.holdout) and name == "val"
        source = "train" if held else name
        file = self.files[source]
        if file is None:
            return
        images = self._read(self.root / file, self.folders.get(source, ""), name == "test", problems)
        if not self.holdout or name == "test":
            yield from images
            return
        yield from holdout_part(
            list(images),
            self.holdout,
            held,
            lambda image: image.image.relative_to(self.images).as_posix(),
            lambda image: [image.image],
        )

    def _read(self, path: Path, subfolder: str, secret: bool, problems: list[str] | None) -> Iterator[CaptionedImage]:
        """Yield the images of a file with their captions; check that images and annotations match."""
        whole = read_json(path)
        secret = secret and isinstance(whole, dict) and not whole.get("annotations")
        annotations = {} if secret else _annotations(whole, path, problems)
        keys: set[str] = set()
        for row in records(whole, path, "images", ("id", "file_name"), problems):
            try:
                key = id_text(row.values["id"], "id", row.where)
                if key in keys:
                    raise InputError(f"{row.where}: this image is listed twice: remove one")
                keys.add(key)
                if not secret and key not in annotations:
                    raise InputError(f"{row.where}: has no annotation: write a caption or remove the image")
                captions = annotations[key].captions if key in annotations else []
                image = self.image_file(row.values["file_name"], row.where, self.images / subfolder)
            except InputError as error:
                fault(error, problems)
                continue
            if captions or secret:  # an image with only faulty captions has been reported
                yield CaptionedImage(row.where, key, image, captions)
        for key in (key for key in annotations if key not in keys):
            where = annotations[key].where
            fault(InputError(f"{where}: image_id {key} is not among the {len(keys)} images: list it"), problems)


def _annotations(whole: object, path: Path, problems: list[str] | None) -> dict[str, _Annotations]:
    """Return the captions of each image, in the order of the file."""
    by_image: dict[str, _Annotations] = {}
    keys: set[str] = set()
    for row in records(whole, path, "annotations", ("id", "image_id", "caption"), problems):
        try:
            key = id_text(row.values["id"], "id", row.where)
            image = id_text(row.values["image_id"], "image_id", row.where)
            captions = by_image.setdefault(image, _Annotations(row.where, [])).captions
            if key in keys:
                raise InputError(f"{row.where}: this annotation is listed twice: give each its own id")
            keys.add(key)
            captions.append(Caption(f"{image}-{key}", caption_text(row.values["caption"], row.where)))
        except InputError as error:
            fault(error, problems)
    return by_image

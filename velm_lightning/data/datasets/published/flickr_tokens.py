"""Flickr8k (Hodosh et al. 2013) and Flickr30k (Young et al. 2014): the official caption file and lists of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from typing_extensions import override

from velm_lightning.data.datasets.published.captioned import (
    Caption,
    CaptionDataset,
    CaptionedImage,
    caption_text,
)
from velm_lightning.io.files import clean_text, fault, read_text, show
from velm_lightning.io.paths import user_path
from velm_lightning.types import InputError

_LINE = re.compile(r"(?P<image>[^\t]+)#(?P<number>\d+)\t(?P<caption>.*)")


class _Captions(NamedTuple):
    """The captions of an image, and the line of each caption number."""

    captions: list[Caption]
    lines: dict[str, int]


class FlickrTokens(CaptionDataset):
    """Images with captions from lines ``name.jpg#0<tab>caption``, and a list of image names for each split.

    Training has one sample per caption, with the key "name.jpg#0"; evaluation has one per image, with the key
    "name.jpg". Captions of images in no list are skipped: the image of one in Flickr8k does not exist.

    Args:
        root: Folder to which the other paths are relative; the other defaults are the names of Flickr8k.
        tokens: File of all captions; ``results_20130124.token`` of Flickr30k.
        train: List of the training images, one name per line, with or without ``.jpg``.
        val: List of the validation images, or ``null``.
        test: List of the test images, or ``null``.
        images: Folder of the images.
        options: ``links`` and ``absolute_names`` of images; see ``FileDataset``.
    """

    official = True

    def __init__(
        self,
        root: Path = Path("."),
        tokens: Path = Path("Flickr8k.token.txt"),
        train: Path | None = Path("Flickr_8k.trainImages.txt"),
        val: Path | None = Path("Flickr_8k.devImages.txt"),
        test: Path | None = Path("Flickr_8k.testImages.txt"),
        images: Path = Path("Flicker8k_Dataset"),
        **options: Any,
    ) -> None:
        super().__init__(user_path(root) / images, **options)
        self.root, self.tokens = user_path(root), user_path(root) / tokens
        self.lists = {"train": train, "val": val, "test": test}

    @override
    def captioned_images(self, name: str, problems: list[str] | None = None) -> Iterator[CaptionedImage]:
        file = self.lists[name]
        if file is None:
            return
        captions = _read_tokens(self.tokens, problems)
        places: dict[str, str] = {}
        for where, listed in _lines(self.root / file):
            image = listed if listed in captions else f"{listed}.jpg"
            try:
                if image in places:
                    raise InputError(f"{where}: {show(listed)} is also in {places[image]}: remove one")
                places[image] = where
                if image not in captions:
                    raise InputError(f"{where}: {show(listed)} has no caption in {self.tokens}: correct or remove it")
                path = self.image_file(image, where)
            except InputError as error:
                fault(error, problems)
                continue
            if captions[image].captions:  # an image with only faulty captions has been reported
                yield CaptionedImage(where, image, path, captions[image].captions)
        if not places:
            fault(InputError(f"{self.root / file}: names no image: write one name per line, or omit {name}"), problems)


def _read_tokens(path: Path, problems: list[str] | None) -> dict[str, _Captions]:
    """Return the captions of each image."""
    by_image: dict[str, _Captions] = {}
    for where, line in _lines(path):
        try:
            match = _LINE.fullmatch(line)
            if match is None:
                raise InputError(f"{where}: {show(line)} is no caption: write name.jpg#0, a tab, then the caption")
            entry = by_image.setdefault(match["image"], _Captions([], {}))
            number, key = int(where.rpartition(":")[2]), f"{match['image']}#{match['number']}"
            first = entry.lines.setdefault(match["number"], number)
            if first != number:
                raise InputError(f"{where}: {show(key)} is also in line {first}: give each caption its own number")
            entry.captions.append(Caption(key, caption_text(match["caption"], where)))
        except InputError as error:
            fault(error, problems)
    if not by_image:
        raise InputError(f"{path}: holds no captions: is it the token file?")
    return by_image


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""Yield the non-empty lines with their locations; only ``\n`` ends a line, and tabs are kept."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        parts = [clean_text(part) for part in line.split("\t")]
        if any(parts):
            yield f"{path}:{number}", "\t".join(parts)

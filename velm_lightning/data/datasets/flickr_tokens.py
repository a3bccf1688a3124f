"""Flickr8k (Hodosh et al. 2013) and Flickr30k (Young et al. 2014) from their own token file and lists of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from velm_lightning.data.datasets.captioned import Caption, CaptionDataset, Picture, caption_text, picture_file
from velm_lightning.io.files import clean_text, fault, read_text, show
from velm_lightning.types import InputError

_LINE = re.compile(r"(?P<image>[^\t]+)#(?P<number>\d+)\t(?P<caption>.*)")


class _Said(NamedTuple):
    """The captions of an image by their number, and the line that each stands in."""

    captions: list[Caption]
    lines: dict[str, int]


class FlickrTokens(CaptionDataset):
    """Pictures with captions from lines ``name.jpg#0<tab>caption``, and a list of image names for each split.

    In training there is a sample a caption, with the key "name.jpg#0"; elsewhere one an image, with the key "name.jpg".
    Captions of images in no list are left out: Flickr8k has one whose picture does not exist.

    Args:
        root: folder that the other names are relative to; the other defaults are the names of Flickr8k.
        tokens: file of all captions; ``results_20130124.token`` of Flickr30k.
        train: list of the training images, a name a line, with or without ``.jpg``; and so on.
        val: list of the validation images, or ``null``.
        test: list of the test images, or ``null``.
        images: folder of the pictures.
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
    ) -> None:
        super().__init__(Path(root) / images)
        self.root, self.tokens = Path(root), Path(root) / tokens
        self.lists = {"train": train, "val": val, "test": test}

    def pictures(self, name: str, problems: list[str] | None = None) -> Iterator[Picture]:
        """See ``CaptionDataset.pictures``."""
        file = self.lists[name]
        if file is None:
            return
        said = _read_tokens(self.tokens, problems)
        seen: dict[str, str] = {}
        for where, listed in _lines(self.root / file):
            image = listed if listed in said else f"{listed}.jpg"
            try:
                if image in seen:
                    raise InputError(f"{where}: {show(listed)} stands in {seen[image]} too: remove one")
                seen[image] = where
                if image not in said:
                    raise InputError(f"{where}: {show(listed)} has no caption in {self.tokens}: mend or remove it")
                path = picture_file(self.images, image, where)
            except InputError as error:
                fault(error, problems)
                continue
            if said[image].captions:  # where all its captions are at fault, that has been told
                yield Picture(where, image, path, said[image].captions)
        if not seen:
            fault(InputError(f"{self.root / file}: names no image: write a name a line, or leave {name} out"), problems)


def _read_tokens(path: Path, problems: list[str] | None) -> dict[str, _Said]:
    """Return the captions of each image."""
    said: dict[str, _Said] = {}
    for where, line in _lines(path):
        try:
            match = _LINE.fullmatch(line)
            if match is None:
                raise InputError(f"{where}: {show(line)} is no caption: write name.jpg#0, a tab, then the caption")
            one = said.setdefault(match["image"], _Said([], {}))
            number, key = int(where.rpartition(":")[2]), f"{match['image']}#{match['number']}"
            first = one.lines.setdefault(match["number"], number)
            if first != number:
                raise InputError(f"{where}: {show(key)} stands in line {first} too: give each caption its own number")
            one.captions.append(Caption(key, caption_text(match["caption"], where)))
        except InputError as error:
            fault(error, problems)
    if not said:
        raise InputError(f"{path}: holds no captions: is it the token file?")
    return said


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""Yield the lines that are not empty with their place; only ``\n`` ends one. Tabs stay."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        parts = [clean_text(part) for part in line.split("\t")]
        if any(parts):
            yield f"{path}:{number}", "\t".join(parts)

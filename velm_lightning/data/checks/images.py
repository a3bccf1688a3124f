"""Notes on the images of a dataset: deep, dark and unused ones, and files in formats that are not read."""

from __future__ import annotations

import mimetypes
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from velm_lightning.data.datasets.located import FileDataset
from velm_lightning.data.images.folder import other_files, picture_files
from velm_lightning.data.images.header import header_of
from velm_lightning.types import Dataset, Source


def deep_images(images: Iterable[Source]) -> Iterator[str]:
    """Yield a note if images have more than 8 bits per value."""
    deep = [image for image in images if (header := header_of(image)) and header.deep]
    if deep:
        yield (
            f"{len(deep)} images have more than 8 bits per value: each is read by the bits that it uses (8, 10, 12 …); "
            "for values that are comparable between images set transform: {depth: fixed, depth_range: [black, white]} "
            f"of the image encoder; the first is {deep[0]}"
        )


def dark_images(images: Sequence[str]) -> Iterator[str]:
    """Yield a note if images are black, or nearly so, as they are read.

    Args:
        images: Name and place of each of them.
    """
    if images:
        yield (
            f"{len(images)} images are black or nearly black as they are read: replace them, or, if they have more "
            "than 8 bits per value, set transform: {depth: percentile} of the image encoder; the first is "
            f"{images[0]}"
        )


def unused_files(dataset: Dataset, images: Iterable[object]) -> Iterator[str]:
    """Yield notes on images in the folder that no row names, and on images and videos in other formats."""
    if not isinstance(dataset, FileDataset) or not dataset.images.is_dir():
        return
    folder = dataset.images.resolve()
    if folder == Path(folder.anchor):
        return  # the whole disk
    used = set(images)
    if others := [file for file in other_files(dataset.images) if _is_medium(file)]:
        kinds = Counter(file.suffix.lower() for file in others).most_common(3)
        named = ", ".join(f"{count} {kind}" for kind, count in kinds)
        yield f"{len(others)} files below {dataset.images} have formats that are not read: {named}; see {others[0]}"
    if unused := [path for path in picture_files(dataset.images) if path not in used]:
        yield f"{len(unused)} images below {dataset.images} are in no row that can be used; the first is {unused[0]}"


def _is_medium(file: Path) -> bool:
    kind, _ = mimetypes.guess_type(file.name)
    return kind is not None and kind.startswith(("image/", "video/"))

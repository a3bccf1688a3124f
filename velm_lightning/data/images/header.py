"""Size and depth of an image, read without decoding its pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image as Pillow
from torch import Tensor

from velm_lightning.io.files import open_file
from velm_lightning.io.image_files import open_image
from velm_lightning.types import FilePart, InputError, Source


class Header(NamedTuple):
    """The size of an image in pixels, and whether its values have more than 8 bits."""

    width: int
    height: int
    deep: bool


def header_of(image: Source) -> Header | None:
    """Return the header of an image; None if it cannot be read."""
    if isinstance(image, Tensor) and image.ndim >= 3:
        return Header(image.shape[-1], image.shape[-2], deep=False)
    try:
        with _file_of(image) as file, open_image(file, "") as opened:
            deep = opened.mode[0] in "IF" or any(";16" in str(tile) for tile in getattr(opened, "tile", []))
            return Header(*opened.size, deep)
    except (InputError, OSError, ValueError, Pillow.DecompressionBombError):
        return None


def _file_of(image: Source) -> BinaryIO:
    if isinstance(image, Path):
        return open_file(image)
    return BytesIO(image.read() if isinstance(image, FilePart) else image.numpy().tobytes())

"""Opening an image file without decoding its pixels; imports no torch."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image

from velm_lightning.errors import InputError

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM")  # none that starts another program, such as EPS


def open_image(file: BinaryIO, name: str) -> Image.Image:
    """Open an image without decoding its pixels, in one of the formats that are read; HEIC needs the extra ``heic``."""
    head = file.read(8)
    file.seek(0)
    if head[4:] != b"ftyp":
        return Image.open(file, formats=_FORMATS)
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise InputError(f"{name}: HEIC images need pillow-heif: pip install velm-lightning[heic]") from None
    register_heif_opener()
    return Image.open(file, formats=(*_FORMATS, "HEIF"))

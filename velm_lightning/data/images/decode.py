"""Decoding an image file or tensor to uint8 (3, H, W), upright and in RGB."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from velm_lightning.data.images.depth import AUTO, Depth, deep_colours, low_bytes, to_bytes
from velm_lightning.data.images.geometry import fit, sufficient_size
from velm_lightning.data.images.png import without_remarks
from velm_lightning.io.image_files import open_image
from velm_lightning.types import FilePart, ImageTransform, InputError, Source

MAX_PIXELS = 64_000_000
"""Default limit on the pixels of an image, because a header can claim any size."""

_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}  # EXIF orientation -> transposition that undoes it
_SIDEWAYS = (5, 6, 7, 8)  # those that exchange width and height


class PixelBudget:
    """Bounds the number of pixels that the threads of a process decode at the same time, and so their memory.

    Args:
        pixels: The bound. An image with more pixels is decoded while no other is.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)  # the threads of the parent do not exist there

    def _reset(self) -> None:
        self._free, self._changed = self.pixels, threading.Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until ``pixels`` may be decoded, and reserve them while the block runs."""
        pixels = min(pixels, self.pixels)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_BUDGET = PixelBudget(MAX_PIXELS)
# Blocks above 32 MiB are returned to the system when an image is freed; each thread would keep smaller ones.
Pillow.core.set_block_size(2**26)  # type: ignore[attr-defined]


def read_image(image: Source, transform: ImageTransform, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Return an image as uint8 (3, H, W), upright and in RGB.

    Uses the first frame of an animation, converts grey, palette and CMYK images, reads images of more than 8 bits by
    the range that ``transform.depth`` names, and turns transparency into white. A tensor of the size of the transform
    is returned unchanged.

    Args:
        image: A file, a part of a file, a uint8 tensor (3, H, W), or the bytes of a file as a uint8 tensor (N,).
        transform: The geometry.
        max_pixels: Limit on the pixels that the header claims, checked before decoding.

    Raises:
        InputError: The file is missing, empty, truncated, too large or not an image; the message names it.
    """
    if isinstance(image, FilePart):
        return _tensor_of_bytes(image.read(), str(image), transform, max_pixels)
    if isinstance(image, Tensor) and image.ndim == 1:
        return _tensor_of_bytes(image.numpy().tobytes(), f"{len(image)} image bytes", transform, max_pixels)
    if isinstance(image, Tensor):
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or not image.numel():
            raise InputError(f"an image tensor must be uint8 (3, H, W), got {image.dtype} {tuple(image.shape)}")
        if is_ready(image, transform):
            return image
        return _tensor(fit(Pillow.fromarray(image.permute(1, 2, 0).contiguous().numpy()), transform))
    try:
        if not image.is_file():
            raise InputError(f"{image}: no such image file: correct the name or remove its rows")
        with image.open("rb") as file:
            return _tensor(_decode(file, str(image), transform, max_pixels))
    except InputError:
        raise
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        empty = isinstance(error, UnidentifiedImageError) and not image.stat().st_size
        raise InputError(f"{image}: {_reason(error, empty)}: replace the file or remove its rows") from error


def _tensor_of_bytes(content: bytes, name: str, transform: ImageTransform, max_pixels: int) -> Tensor:
    """Return the image in the bytes of a file as uint8 (3, H, W)."""
    try:
        return _tensor(_decode(BytesIO(content), name, transform, max_pixels))
    except InputError:
        raise
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        reason = _reason(error, not len(content))
        raise InputError(f"{name}: {reason}: replace the image or remove its rows") from error


def upright_rgb(image: Pillow.Image) -> Pillow.Image:
    """Return an image in RGB, turned upright as its EXIF data say, with transparency as white."""
    turn = _TURNS.get(_orientation(image))
    return _rgb(image) if turn is None else _rgb(image).transpose(turn)


def is_ready(image: Source, transform: ImageTransform) -> bool:
    """Return whether the image is a tensor that needs no transform."""
    if not isinstance(image, Tensor) or transform.tiles:
        return False
    return image.dtype == torch.uint8 and image.shape == transform.shape


def _tensor(image: Pillow.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _decode(file: BinaryIO, name: str, transform: ImageTransform, max_pixels: int) -> Pillow.Image:
    """Return a file's image in its geometry, upright and in RGB; of a PNG with huge texts only the pixels are read."""
    try:
        return _pixels(file, name, transform, max_pixels)
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
        file.seek(0)
        return _pixels(BytesIO(without_remarks(file.read())), name, transform, max_pixels)


def _pixels(file: BinaryIO, name: str, transform: ImageTransform, max_pixels: int) -> Pillow.Image:
    if Pillow.MAX_IMAGE_PIXELS is not None and max_pixels > Pillow.MAX_IMAGE_PIXELS:
        Pillow.MAX_IMAGE_PIXELS = max_pixels
    with open_image(file, name) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise InputError(
                f"{name}: claims {width} x {height} pixels, more than max_pixels = {max_pixels}: "
                "reduce the image or raise the limit"
            )
        jpeg = isinstance(image, JpegImageFile)
        sideways = jpeg and _orientation(image) in _SIDEWAYS
        wide, high = sufficient_size(transform, (height, width) if sideways else (width, height))
        image.draft("RGB", (high, wide) if sideways else (wide, high))  # decodes a large JPEG at 1/2, 1/4 or 1/8
        whole = "progressive" in image.info or "progression" in image.info  # holds all coefficients in memory
        with _BUDGET.reserve(width * height if whole else image.width * image.height):
            low = low_bytes(getattr(image, "tile", ()))
            if not jpeg:
                image.load()  # because EXIF data may follow the pixels
            depth = Depth(transform.depth, transform.depth_range)
            rgb = _rgb(image if low is None else _with_low_bytes(image, file, name, low, depth), depth)
            orientation = _orientation(image)
            turn = _TURNS.get(orientation)
            upright = rgb if turn is None else rgb.transpose(turn)
            return fit(upright, transform, (height, width) if orientation in _SIDEWAYS else (width, height))


def _with_low_bytes(high: Pillow.Image, file: BinaryIO, name: str, tiles: list[Any], depth: Depth) -> Pillow.Image:
    """Return colours of 16 bits per value as 8 bits, after reading a file for the second time."""
    file.seek(0)
    with open_image(file, name) as image:
        image.tile = tiles  # type: ignore[attr-defined]
        return deep_colours(high, image, depth)


def _orientation(image: Pillow.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # an image with damaged EXIF data is still readable
        return 1


def is_deep(image: Pillow.Image) -> bool:
    """Return whether the values of an image in one channel have more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def _rgb(image: Pillow.Image, depth: Depth = AUTO) -> Pillow.Image:
    if is_deep(image):
        image = Pillow.fromarray(to_bytes(np.asarray(image), depth))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _reason(error: Exception, empty: bool) -> str:
    if empty:
        return "the file is empty (0 bytes)"
    if isinstance(error, UnidentifiedImageError):
        return "is not a JPEG, PNG, GIF, WebP, BMP, TIFF or PPM image"
    if isinstance(error, Pillow.DecompressionBombError | Pillow.DecompressionBombWarning):
        return f"claims too many pixels ({error})"
    return f"cannot be read as an image ({error or type(error).__name__})"

"""The forms of an image that Python code may pass, converted to those that the package decodes."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from velm_lightning.data.images.decode import is_deep, upright_rgb
from velm_lightning.types import InputError

ImageLike = str | Path | Pillow.Image | np.ndarray[Any, Any] | Tensor | bytes | Mapping[str, Any]
"""A path, a PIL image, an array (H, W, 3) uint8, a tensor (3, H, W) uint8, the bytes of a file, or a record of
``bytes`` and ``path``, as in tables of the Hugging Face hub."""

ACCEPTED = (
    "a path (str or Path), a PIL image, a numpy array (H, W, 3) uint8 in RGB, a tensor (3, H, W) uint8 in RGB, or the "
    "bytes of a file"
)
_BGR = "in RGB (for OpenCV's BGR, image[..., ::-1])"


def to_image(image: object) -> Path | Tensor:
    """Return an image as a path, a uint8 tensor (3, H, W), or the bytes of a file as a uint8 tensor (N,).

    Args:
        image: One of the forms of ``ImageLike``.

    Raises:
        InputError: The image has another type, shape or type of numbers.
    """
    if isinstance(image, str | Path):
        return Path(image).expanduser()
    if isinstance(image, Pillow.Image):
        return _of_deep(image) if is_deep(image) else _of_array(np.array(upright_rgb(image)))
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Tensor):
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or not image.numel():
            raise InputError(f"an image is a tensor {tuple(image.shape)} of {image.dtype}: give (3, H, W) uint8 in RGB")
        return image.cpu()
    if isinstance(image, bytes | bytearray | memoryview):
        return torch.frombuffer(bytearray(image) or bytearray(1), dtype=torch.uint8)[: len(image)]
    if isinstance(image, Mapping) and {"bytes", "path"} & image.keys():
        return to_image(image["bytes"] if image.get("bytes") is not None else image.get("path"))
    raise InputError(f"an image is of type {_name(type(image))}: give {ACCEPTED}")


def _of_deep(image: Pillow.Image) -> Tensor:
    """Return an image of more than 8 bits per value as the bytes of a file, which ``ImageTransform.depth`` reads."""
    file = BytesIO()
    image.save(file, "TIFF")
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def _of_array(image: np.ndarray[Any, Any]) -> Tensor:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"an image is an array {image.shape} of {image.dtype}: give (H, W, 3) uint8 {_BGR}")
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous()


def _name(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"

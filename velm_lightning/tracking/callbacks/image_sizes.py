"""The sizes of a split's images as stored, and as the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from velm_lightning.data.images.header import header_of
from velm_lightning.types import Image, ImageTransform, Sample

LOOKED_AT = 200
"""Largest number of images whose size is read."""


_WAYS = {"squash": "squashed", "crop": "cropped", "pad": "padded", "stretch-to-grid": "squashed"}


def describe_sizes(samples: Sequence[Sample], transform: ImageTransform | None) -> str:
    """Return a line such as ``images: 640 x 480 -> 224 x 224, squashed``; empty if no size can be read.

    The first size is that of the middle image by area, of at most ``LOOKED_AT`` spread over the split.
    """
    step = -(-len(samples) // LOOKED_AT) or 1
    sizes = [size for sample in samples[::step] if (size := size_of(sample.image))]
    if not sizes or transform is None:
        return ""
    _, width, height = median_low([(width * height, width, height) for width, height in sizes])
    high, wide = transform.sides
    varied = "" if len(set(sizes)) == 1 else " (median)"
    way = f", {_WAYS[transform.resize]}" if width * high != height * wide else ""
    tiles = f" and up to {transform.tiles} tiles of this size" if transform.tiles else ""
    warning = ": most of the detail is lost" if width * height > 16 * high * wide * (transform.tiles + 1) else ""
    return f"images: {width} x {height}{varied} -> {wide} x {high}{way}{tiles}{warning}"


def size_of(image: Image) -> tuple[int, int] | None:
    """Return width and height of an image, or of the first of several; None if there is none or it is unreadable."""
    if isinstance(image, tuple) and not image:
        return None
    first = image[0] if isinstance(image, tuple) else image
    header = header_of(first)
    return (header.width, header.height) if header else None

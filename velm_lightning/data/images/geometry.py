"""An upright RGB image in the geometry of an image encoder: squashed, cropped, padded, or cut into tiles."""

from __future__ import annotations

from PIL import Image as Pillow

from velm_lightning.data.images.tiles import best_grid, packed
from velm_lightning.types import ImageTransform

_FILTERS = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}
_LONGEST = 4  # longest side of an image that is resized as a whole, relative to what it must cover


def fit(image: Pillow.Image, transform: ImageTransform, full: tuple[int, int] | None = None) -> Pillow.Image:
    """Return an upright RGB image in the geometry of a transform, resized with antialiasing.

    Args:
        image: The decoded image.
        transform: The geometry.
        full: Width and height of the image before the decoder reduced it. None means that it is not reduced.
    """
    height, width = transform.sides
    filtering = _FILTERS[transform.interpolation]
    if transform.tiles:
        return packed(image, transform, best_grid(full or image.size, (width, height), transform.tiles), filtering)
    if transform.resize == "crop":
        return _crop(image, transform, full or image.size)
    if transform.resize == "pad":
        return _pad(image, transform, full or image.size)
    return image.resize((width, height), filtering)


def sufficient_size(transform: ImageTransform, full: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height to which a decoder may reduce an image of ``full`` width and height, or above."""
    height, width = transform.sides
    rows, columns = best_grid(full, (width, height), transform.tiles) if transform.tiles else (1, 1)
    share = transform.crop_ratio if transform.resize == "crop" else 1
    return int(2 * columns * width / share), int(2 * rows * height / share)


def _crop(image: Pillow.Image, transform: ImageTransform, full: tuple[int, int]) -> Pillow.Image:
    """Return the centre of an image that covers ``size / crop_ratio``.

    The crop is that of torchvision's ``ImageClassification`` preset: the longer side is rounded down, and the margins
    are rounded half to even.
    """
    height, width = transform.sides
    filtering = _FILTERS[transform.interpolation]
    across, down = (max(side, round(side / transform.crop_ratio)) for side in (width, height))
    narrow = full[0] * down <= full[1] * across
    new = (across, int(across * full[1] / full[0])) if narrow else (int(down * full[0] / full[1]), down)
    left, top = (round((length - side) / 2) for length, side in zip(new, (width, height), strict=True))
    if full == image.size and new[0] <= _LONGEST * across and new[1] <= _LONGEST * down:
        return image.resize(new, filtering).crop((left, top, left + width, top + height))
    factor = round(full[0] / image.width)  # a decoder that reduces an image rounds its sides up
    x, y = full[0] / factor / new[0], full[1] / factor / new[1]  # the same crop without resizing the rest
    box = (left * x, top * y, (left + width) * x, (top + height) * y)
    return image.resize((width, height), filtering, box=box)


def _pad(image: Pillow.Image, transform: ImageTransform, full: tuple[int, int]) -> Pillow.Image:
    """Return the whole image in the centre, at its aspect ratio, surrounded by the mean colour."""
    height, width = transform.sides
    scale = min(width / full[0], height / full[1])
    new = (max(1, min(width, round(full[0] * scale))), max(1, min(height, round(full[1] * scale))))
    red, green, blue = (round(255 * value) for value in transform.mean)
    canvas = Pillow.new("RGB", (width, height), (red, green, blue))
    canvas.paste(image.resize(new, _FILTERS[transform.interpolation]), ((width - new[0]) // 2, (height - new[1]) // 2))
    return canvas

"""Images with more than 8 bits per value, reduced to 8 bits by a stated range."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import ceil, log2
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image as Pillow

Array = np.ndarray[Any, Any]


class Depth(NamedTuple):
    """How values become 8 bits; see ``ImageTransform.depth``.

    Attributes:
        method: ``auto``, ``percentile`` or ``fixed``.
        range: The values of black and white if it is ``fixed``.
    """

    method: Literal["auto", "percentile", "fixed"] = "auto"
    range: tuple[float, float] | None = None


AUTO = Depth()


def to_bytes(values: Array, depth: Depth = AUTO) -> Array:
    """Return values as uint8.

    - ``auto``: whole numbers are divided by a power of two, so that the range is 0 to 2^b - 1 for the smallest even b
      of at least 8 that holds the largest value: 12 bits in a 16-bit file are read as 12 bits. Other numbers have the
      range 0 to the smallest power of two, at least 1, that holds the largest. Negative values become 0.
    - ``percentile``: the range is the 1st to the 99th percentile of the image.
    - ``fixed``: the range is ``depth.range``. Values outside of a range become its ends.

    Args:
        values: Integers or floating-point numbers of any shape.
        depth: The method.

    Raises:
        ValueError: A value is not finite, or needs more than 32 bits.
    """
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    if depth.method == "fixed" and depth.range is not None:
        return _scaled(values, *depth.range)
    if depth.method == "percentile":
        low, high = (float(value) for value in np.percentile(values, (1, 99)))
        if low < high:
            return _scaled(values, low, high)
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        return _scaled(values, 0.0, 2.0 ** max(0, ceil(log2(max(float(values.max()), 1.0)))))
    whole = values.clip(0, 2.0**33).astype(np.int64)
    if values.dtype.kind == "f" and whole.max(initial=0) <= 1:
        return (255 * whole).astype(np.uint8)
    return (whole >> (bits_of(whole) - 8)).astype(np.uint8)


def bits_of(values: Array) -> int:
    """Return the number of bits as which integers are read: even, at least 8.

    Raises:
        ValueError: A value needs more than 32 bits.
    """
    needed = int(values.max(initial=0)).bit_length()
    if needed > 32:
        raise ValueError(f"pixels up to {int(values.max())}, more than 32 bits")
    return max(8, needed + needed % 2)


def low_bytes(tiles: Sequence[Any]) -> list[Any] | None:
    """Return instructions for Pillow that read the low bytes of 16-bit colours, of which it reads the high ones.

    Args:
        tiles: ``Image.tile``, before the image is loaded.

    Returns:
        The same with the order of bytes exchanged; None if these are no colours with 16 bits.
    """
    native = {"L": "16B", "B": "16L", "N": "16B" if sys.byteorder == "little" else "16L"}
    swapped = []
    for tile in tiles:
        arguments = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        name, _, kind = str(arguments[0]).partition(";")
        if name not in ("RGB", "RGBA", "RGBX") or kind not in ("16L", "16B", "16N"):
            return None
        arguments = (f"{name};{native[kind[-1]]}", *arguments[1:])
        swapped.append(tile._replace(args=arguments if isinstance(tile.args, tuple) else arguments[0]))
    return swapped or None


def deep_colours(high: Pillow.Image, low: Pillow.Image, depth: Depth) -> Pillow.Image:
    """Return colours of 8 bits per value, given the high and the low bytes of 16-bit ones."""
    values = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)  # (H, W, 3 or 4)
    return Pillow.fromarray(np.concatenate([to_bytes(values[..., :3], depth), np.asarray(high)[..., 3:]], 2))


def _scaled(values: Array, low: float, high: float) -> Array:
    share = (values.astype(np.float64) - low) / (high - low)
    scaled: Array = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
    return scaled

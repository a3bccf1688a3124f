"""Images with more than 8 bits per value, reduced to 8 bits by a stated range."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_bytes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return values as uint8, by the highest bits that the image uses.

    Whole numbers are divided by a power of two, so that the range is 0 to 2^b - 1 for the smallest even b of at least 8
    that holds the largest value: 12 bits in a 16-bit file are read as 12 bits. Negative values become 0. Floating-point
    values are read as 0 to 1 if none is larger, and else as whole numbers.

    Args:
        values: (H, W) integers or floating-point numbers.

    Raises:
        ValueError: A value is not finite, or needs more than 32 bits.
    """
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    if values.dtype.kind == "f":
        values = np.rint(values * 255 if values.max(initial=0) <= 1 else values.clip(0, 2.0**33)).astype(np.int64)
    return (values.astype(np.int64).clip(0) >> (bits_of(values) - 8)).astype(np.uint8)


def bits_of(values: np.ndarray[Any, Any]) -> int:
    """Return the number of bits as which integers are read: even, at least 8.

    Raises:
        ValueError: A value needs more than 32 bits.
    """
    needed = int(values.max(initial=0)).bit_length()
    if needed > 32:
        raise ValueError(f"pixels up to {int(values.max())}, more than 32 bits")
    return max(8, needed + needed % 2)

"""The transform and the grid of an image encoder, from its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, isqrt
from numbers import Real
from typing import Any, get_args, get_type_hints

from velm_lightning.types import ImageTransform, InputError

Size = int | Sequence[int]
"""The side of a square image in pixels, or height and width."""
_LENGTHS = {"mean": 3, "std": 3, "depth_range": 2}


def transform_of(base: ImageTransform, size: Size | None, changes: Mapping[str, Any] | None) -> ImageTransform:
    """Return a transform with another size and with ``changes`` of its fields.

    Args:
        base: the transform without changes.
        size: the size, to which images are squashed unless ``changes`` has another ``resize``; None means that of
            ``base`` and its resizing.
        changes: values by field of ``ImageTransform``.

    Raises:
        InputError: a field does not exist or has a value that is not allowed.
    """
    changes = dict(changes or {})
    if unknown := sorted(set(changes) - set(ImageTransform._fields)):
        fields = ", ".join(ImageTransform._fields)
        raise InputError(f"image_encoder.transform has no {unknown[0]!r}: choose among {fields}")
    if size is not None:
        base = base._replace(size=_checked_size(size), resize="squash", crop_ratio=1.0)
    if "size" in changes:
        changes["size"] = _checked_size(changes["size"])
    changed = base._replace(**changes)
    return _checked(changed._replace(**{name: _numbers(name, getattr(changed, name)) for name in _LENGTHS}))


def on_grid(transform: ImageTransform, patch: int, fault: str) -> tuple[ImageTransform, tuple[int, int]]:
    """Return a transform, and the rows and columns of its patches.

    The size of ``stretch-to-grid`` is rounded up to whole patches.

    Args:
        transform: the transform.
        patch: side of a patch in pixels.
        fault: the message if patches do not fit.

    Raises:
        InputError: the size is not a multiple of ``patch``.
    """
    if transform.resize == "stretch-to-grid" and patch > 0:
        transform = transform._replace(size=_checked_size([-(-side // patch) * patch for side in transform.sides]))
    height, width = transform.sides
    if patch < 1 or height % patch or width % patch:
        raise InputError(fault)
    return transform, (height // patch, width // patch)


def grid_of_count(count: int, transform: ImageTransform) -> tuple[int, int]:
    """Return the rows and columns, in the aspect ratio of the image, of at most ``count`` tokens."""
    height, width = transform.sides
    rows = max(1, isqrt(count * height // width))
    return rows, max(1, rows * width // height)


def _checked_size(size: Any) -> int | tuple[int, int]:
    sides = [size] if isinstance(size, int) else list(size) if isinstance(size, Sequence) else []
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
    if not whole or len(sides) not in (1, 2):
        raise InputError(f"image_encoder.size must be pixels, such as 64, or [height, width], got {size}")
    return sides[0] if sides[0] == sides[-1] else (sides[0], sides[1])


def _numbers(name: str, given: Any) -> Any:
    """Return the finite numbers of a field; None if the field may be None."""
    if given is None and name == "depth_range":
        return None
    numbers = tuple(given) if isinstance(given, Iterable) else ()
    if len(numbers) != _LENGTHS[name] or not all(isinstance(value, Real) and isfinite(value) for value in numbers):
        raise InputError(f"image_encoder.transform.{name} must be {_LENGTHS[name]} finite numbers, got {given!r}")
    return numbers


def _checked(transform: ImageTransform) -> ImageTransform:
    """Return a transform whose choices are allowed."""
    hints = get_type_hints(ImageTransform)
    for name in ("resize", "interpolation", "depth"):
        if (value := getattr(transform, name)) not in get_args(hints[name]):
            choices = ", ".join(get_args(hints[name]))
            raise InputError(f"image_encoder.transform.{name} must be one of {choices}, got {value!r}")
    if transform.tiles:
        raise InputError("image_encoder.transform.tiles is set by the encoder TiledEncoder: wrap this encoder in it")
    limits = transform.depth_range or ()
    if (transform.depth == "fixed") != (len(limits) == 2 and limits[0] < limits[-1]):
        raise InputError(
            "image_encoder.transform.depth_range must be [black, white] with depth: fixed, such as [0, 4095], and "
            f"null otherwise, got {transform.depth_range} with depth: {transform.depth}"
        )
    if min(transform.std) <= 0:
        raise InputError(f"image_encoder.transform.std must be above 0, got {list(transform.std)}")
    ratio: Any = transform.crop_ratio
    if not isinstance(ratio, Real) or not 0 < float(ratio) <= 1:
        raise InputError(f"image_encoder.transform.crop_ratio must be in 0…1, got {ratio}")
    return transform

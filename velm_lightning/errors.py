"""The exception for invalid input, and its most frequent causes; importing this module loads nothing else."""

from __future__ import annotations

import math


class InputError(ValueError):
    """Invalid input from the user; the message names the file, line or key, the value and the fix.

    The command line prints it as one line and exits with code 2; library users can catch it as a ``ValueError``.

    Example:
        >>> import velm_lightning as velm
        >>> try:
        ...     velm.SmallCNN(size=30)
        ... except velm.InputError as error:
        ...     print(error)
        image_encoder.size must be a multiple of 8 for 3 stages, got 30
    """


def unreadable(path: object, error: Exception, fix: str = "check the path") -> InputError:
    """Return the error for a file that cannot be read, with the reason that the system gives, and the fix."""
    reason = getattr(error, "strerror", None) or str(error) or "it is larger than the memory"
    return InputError(f"{path}: cannot be read ({reason}): {fix}")


def expect(value: object, kind: type | tuple[type, ...], name: str, fix: str) -> None:
    """Raise unless a value is of a type.

    Args:
        value: The value.
        kind: The type or types.
        name: The argument that the value was given for.
        fix: What to give instead.

    Raises:
        InputError: The value is of another type; a class that was given instead of an instance is named as such.
    """
    if isinstance(value, kind):
        return
    if isinstance(value, type) and issubclass(value, kind):
        raise InputError(f"{name} is the class {value.__name__}: write {value.__name__}(…)")
    raise InputError(f"{name} is of type {type(value).__name__}: {fix}")


def at_least(least: int, part: str = "", **sizes: int | None) -> None:
    """Raise unless every size is at least ``least``.

    Args:
        least: The smallest size.
        part: The part of a config that the sizes are arguments of, such as ``model``; empty for names without a part.
        sizes: The sizes by the names of their arguments; one that is not set is None, and is not checked.

    Raises:
        InputError: A size is smaller.
    """
    for name, size in sizes.items():
        if size is not None and size < least:
            raise InputError(f"{part}{'.' if part else ''}{name} must be at least {least}, got {size}")


def within(low: float, high: float, part: str = "", **values: float | None) -> None:
    """Raise unless every value is a finite number from ``low`` to ``high``, both included.

    Args:
        low: The smallest value; it and ``high`` may be infinite.
        high: The largest value.
        part: As for ``at_least``.
        values: The values by the names of their arguments; None is not checked.

    Raises:
        InputError: A value is outside, infinite or not a number.
    """
    for name, value in values.items():
        if value is not None and not (low <= value <= high and -math.inf < value < math.inf):
            least = f" of at least {low:g}" if low > -math.inf else ""
            limits = f"from {low:g} to {high:g}" if high < math.inf else f"a finite number{least}"
            raise InputError(f"{part}{'.' if part else ''}{name} must be {limits}, got {value}")


def positive(part: str = "", **values: float | None) -> None:
    """Raise unless every value is a finite number above 0.

    Args:
        part: As for ``at_least``.
        values: The values by the names of their arguments; None is not checked.

    Raises:
        InputError: A value is 0 or less, infinite or not a number.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{part}{'.' if part else ''}{name} must be a finite number above 0, got {value}")

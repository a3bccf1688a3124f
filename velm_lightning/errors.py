"""The exception for invalid input; a module of its own, so that importing it loads nothing else."""

from __future__ import annotations


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

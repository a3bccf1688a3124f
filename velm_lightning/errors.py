"""The one error that a user can mend; it stands alone, so that what reads finished runs loads nothing else."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used: the message names the file, line or key, the value and the mend.

    The command line prints it as one line and ends with exit code 2; a library user catches it as a ``ValueError``.
    """

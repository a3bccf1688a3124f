"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of the settings in malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; glibc refuses more
_NEVER_TRIM = 2**31 - 1
_CHOSEN_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def reuse_memory() -> bool:
    """Let this process reuse freed blocks of up to 32 MiB instead of returning them to the operating system.

    By default, glibc returns large blocks soon, and the system clears each page again before it is used: some hundred
    page faults per training step of a small model on a CPU. Results do not change. Settings in the environment
    (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES``) take precedence.

    Returns:
        Whether the settings were made: False with a C library other than glibc, or if the environment has settings.
    """
    if any(name in os.environ for name in _CHOSEN_BY_USER):
        return False
    try:
        change = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    # The first setting also turns off glibc's own adaptation, which would undo the second.
    return bool(change(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)) and bool(change(_TRIM_THRESHOLD, _NEVER_TRIM))

"""The thread pool for reading and decoding files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor


def threads() -> ThreadPoolExecutor:
    """Return a pool of at most 8 threads, one per available core, for work that releases Python's global lock."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return ThreadPoolExecutor(min(8, cores))

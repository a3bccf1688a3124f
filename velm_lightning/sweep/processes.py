"""Processes of a sweep: who works on a trial, and ending those whom nobody waits for."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

MARK = "VELM_SWEEP_TRIAL"
"""Environment variable of a trial's processes: the folder through which they and the sweep talk."""


def identity() -> dict[str, Any]:
    """Return what tells this process from all others."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": born(os.getpid())}


def born(pid: int) -> str:
    """Return when a process began, as the kernel tells it; empty where it is gone or the kernel does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def gone(who: dict[str, Any]) -> bool:
    """Say whether the process of an identity is gone; of other machines nothing is known."""
    if who["host"] != socket.gethostname():
        return False
    try:
        os.kill(who["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return bool(born(who["pid"]) != who["born"])


def end_processes(folder: Path) -> None:
    """Kill every process of this machine that works on the trial in ``folder``."""
    for pid in working(folder):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def working(folder: Path) -> Iterator[int]:
    """Yield the processes of this machine that work on the trial in ``folder``."""
    wanted = f"{MARK}={folder}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)

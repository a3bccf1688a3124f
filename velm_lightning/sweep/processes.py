"""Identifies the processes of a sweep, and kills those that a killed sweep left behind."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

MARK = "VELM_SWEEP_TRIAL"
"""Environment variable of a trial's processes: the folder through which they exchange files with the sweep."""


def identity() -> dict[str, Any]:
    """Return host, process id and start time, which identify this process among those of all machines."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": born(os.getpid())}


def born(pid: int) -> str:
    """Return the start time of a process from the kernel; empty if the process is gone or the kernel has none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def gone(process: dict[str, Any]) -> bool:
    """Return whether the process of an identity is gone; False for processes of other machines."""
    if process["host"] != socket.gethostname():
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return bool(born(process["pid"]) != process["born"])


def end_processes(folder: Path) -> None:
    """Kill all processes of this machine that work on the trial in ``folder``."""
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

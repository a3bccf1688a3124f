"""Signals in the worker processes of a loader, which end when their parent says so."""

from __future__ import annotations

import os
import signal
import threading


def leave_signals_to_parent(worker: int = 0) -> None:
    """Ignore SIGINT, and every SIGTERM that the parent process did not send; called in each worker.

    Service managers and schedulers signal all processes of a job, and a terminal all processes of a group. A worker
    that died of it would make its loader fail before the parent has finished its step.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux; elsewhere the sender of a signal is not known
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)

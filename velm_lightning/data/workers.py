"""Signals in the worker processes of a loader, which end when their parent says so."""

from __future__ import annotations

import os
import signal
import threading


def leave_signals_to_parent(worker: int = 0) -> None:
    """Ignore the signals that the parent handles, and every SIGTERM that it did not send; called in each worker.

    Service managers and schedulers signal all processes of a job, and a terminal all processes of a group. A worker
    that died of it would make its loader fail before the parent has finished its step.
    """
    for signum in _handled():
        signal.signal(signum, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux; elsewhere the sender of a signal is not known
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


def _handled() -> set[int]:
    """Return the signals that end a run, and the others whose handlers a forked worker has from its parent."""
    inherited = {signum for signum in signal.valid_signals() if callable(signal.getsignal(signum))}
    kept = {getattr(signal, name, None) for name in ("SIGTERM", "SIGCHLD")}  # see below; for processes of the worker
    return {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT), *inherited} - kept


def _wait_for_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)

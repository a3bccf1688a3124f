"""A second Ctrl-C, heard even while Python does not get to run: in a long kernel, or a hanging exchange."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class SecondInterrupt:
    """Calls ``then`` from a thread of its own at the second Ctrl-C.

    Python's own handlers run only once the main thread is back from what it is doing; the bytes that the system's
    handler writes are there at once.

    Args:
        then: ends the process.
    """

    def __init__(self, then: Callable[[], None]) -> None:
        self.then = then
        self._told: socket.socket | None = None
        self._before = -1

    def listen(self) -> None:
        """Begin to listen; it needs the main thread."""
        if self._told is None:
            heard, self._told = socket.socketpair()
            self._told.setblocking(False)
            self._before = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
            os.register_at_fork(after_in_child=self._deaf)
            threading.Thread(target=self._hear, args=(heard,), daemon=True).start()

    def restore(self) -> None:
        """Listen no longer."""
        if self._told is not None:
            signal.set_wakeup_fd(self._before)
            self._told.close()  # the thread reads the end, and ends
            self._told = None

    def _hear(self, heard: socket.socket) -> None:
        interrupts = 0
        with heard:
            while received := heard.recv(64):
                interrupts += received.count(signal.SIGINT)
                if interrupts > 1:
                    self.then()

    def _deaf(self) -> None:
        """In a loader process, which hears the same Ctrl-C: it must not be counted twice."""
        if self._told is not None:
            with suppress(ValueError):  # not in the main thread: then nothing is written either
                signal.set_wakeup_fd(-1)

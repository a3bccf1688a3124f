"""Handles a second Ctrl-C while the main thread is blocked in a kernel or a collective operation."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class SecondInterrupt:
    """Calls ``then`` from a separate thread at the second Ctrl-C.

    Python runs its signal handlers only when the main thread returns to the interpreter, but the wakeup file descriptor
    receives a byte per signal at once.

    Args:
        then: the function to call; it should end the process.
    """

    def __init__(self, then: Callable[[], None]) -> None:
        self.then = then
        self._writer: socket.socket | None = None
        self._before = -1

    def listen(self) -> None:
        """Start to count interrupts; must be called from the main thread."""
        if self._writer is None:
            reader, self._writer = socket.socketpair()
            self._writer.setblocking(False)
            self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            os.register_at_fork(after_in_child=self._detach)
            threading.Thread(target=self._count, args=(reader,), daemon=True).start()

    def restore(self) -> None:
        """Stop counting and restore the earlier wakeup file descriptor."""
        if self._writer is not None:
            signal.set_wakeup_fd(self._before)
            self._writer.close()  # the thread then reads the end of the stream and returns
            self._writer = None

    def _count(self, reader: socket.socket) -> None:
        interrupts = 0
        with reader:
            while received := reader.recv(64):
                interrupts += received.count(signal.SIGINT)
                if interrupts > 1:
                    self.then()

    def _detach(self) -> None:
        """Stop counting in a forked loader process, which receives the same Ctrl-C."""
        if self._writer is not None:
            with suppress(ValueError):  # outside of the main thread, where no byte is written either
                signal.set_wakeup_fd(-1)

"""The exit code with which a process of a run leaves it."""

import os
import signal

import pytest

from velm_lightning.tracking import shutdown
from velm_lightning.types import InputError


@pytest.mark.parametrize(
    ("error", "launched", "code"),
    [
        (ArithmeticError("a mistake"), False, 1),
        (InputError("a wrong value"), False, 2),
        (shutdown.Interrupted(15), False, 143),
        (ArithmeticError("a mistake"), True, 0),
        (shutdown.Interrupted(15), True, 0),
    ],
)
def test_only_the_launching_process_reports_the_end(monkeypatch, error, launched, code):
    """Lightning kills it if another process of the run ends with a code other than 0."""
    codes = []
    trainer = type("Trainer", (), {"is_global_zero": not launched})()
    monkeypatch.setattr(shutdown, "parent_of", lambda _: [1] * launched)
    monkeypatch.setattr(shutdown, "children_of", lambda _: [])
    monkeypatch.setattr(shutdown, "end_later", lambda children, code: None)
    monkeypatch.setattr(shutdown, "end_service", lambda seconds, code: None)
    monkeypatch.setattr(shutdown, "end_now", lambda children, code: codes.append(code))
    shutdown.leave(error, trainer)
    assert codes == [code]


def test_output_to_a_closed_terminal_is_discarded():
    """Printing to it would end a run as failed before its checkpoint is written."""
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    master, terminal = os.openpty()
    try:
        os.dup2(terminal, 1)
        shutdown.discard_output_of_closed_terminal()
        assert os.isatty(1)
        os.close(master)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(1, b"step 1")
        shutdown.discard_output_of_closed_terminal()
        os.write(1, b"step 2")
        assert os.path.samestat(os.fstat(2), os.fstat(kept[2]))
    finally:
        os.close(terminal)
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)


def test_a_terminal_may_close_after_ctrl_c(monkeypatch):
    """A run that Ctrl-C has stopped still finishes its batch, and prints."""
    discarded = []
    monkeypatch.setattr(shutdown, "discard_output_of_closed_terminal", lambda: discarded.append(True))
    signals = shutdown.Signals(None, at_once=lambda: None)
    signals.received = signal.SIGINT
    signals._on_signal(signal.SIGHUP, None)
    assert discarded
    assert signals.received == signal.SIGINT

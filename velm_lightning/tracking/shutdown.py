"""Ends a run of one or more processes on signals, errors and the death of a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from errno import EIO
from functools import cache
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback

from velm_lightning.io.console import echo
from velm_lightning.io.wandb_service import end_service
from velm_lightning.tracking.checkpoint_files import LastCheckpoint, more_follow
from velm_lightning.tracking.second_interrupt import SecondInterrupt
from velm_lightning.tracking.slurm import requeue, requeue_signal
from velm_lightning.types import InputError

_ENDING = [signal.SIGTERM, signal.SIGINT]
_IF_HEEDED = [getattr(signal, name) for name in ("SIGHUP", "SIGXCPU") if hasattr(signal, name)]
"""Signals of a closed terminal and of a limit of CPU time, which a program such as ``nohup`` may have disabled."""
GRACE = 30.0
"""Seconds that a process waits for others after it was asked to end, before it exits."""


class Interrupted(Exception):  # noqa: N818 - as KeyboardInterrupt, it is no error
    """Raised when a run has stopped between two batches because of a signal.

    Attributes:
        signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Signals(Callback):
    """Stops all processes of a run after the current batch when one receives SIGTERM, SIGHUP, SIGXCPU or Ctrl-C.

    In training, the processes agree on the step after which they stop, and write ``last.ckpt``. Before the first batch,
    and on a second Ctrl-C, a run ends at once. The signal that SLURM sends before a preemption stops a run in the same
    way and requeues its job.

    Args:
        last: the callback that writes ``last.ckpt``.
        at_once: called before a second Ctrl-C ends the process. None means that a second Ctrl-C raises ``Interrupted``
            at once instead, so that a notebook keeps its process.
    """

    def __init__(self, last: LastCheckpoint, at_once: Callable[[], None] | None = None) -> None:
        self.last, self.at_once = last, at_once
        self.received: int | None = None
        self._patient = False
        self._second = SecondInterrupt(self._end_at_once)
        self._children: list[int] = []
        self._others: list[int] = []
        self._before: dict[int, Any] = {}

    def _listen(self, trainer: Trainer, patient: bool) -> None:
        """Install the handlers, replacing those of Lightning, which may wait for each other forever."""
        self._children, self._patient = children_of(trainer), patient
        self._others = self._children or parent_of(trainer)
        if threading.current_thread() is threading.main_thread():
            heeded = [signum for signum in _IF_HEEDED if signal.getsignal(signum) is not signal.SIG_IGN]
            for signum in filter(None, (*_ENDING, *heeded, requeue_signal(trainer))):
                handler = signal.signal(signum, self._on_signal)
                self._before.setdefault(signum, handler)
            if self.at_once is not None:
                self._second.listen()

    def restore(self) -> None:
        """Restore the earlier signal handlers."""
        self._second.restore()
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        discard_output_of_closed_terminal()
        if self.received is None:
            self.received = signum
            for other in self._others:  # as SIGTERM, which never counts as a second Ctrl-C
                with suppress(OSError):
                    os.kill(other, signal.SIGTERM)
            if not self._patient:
                raise Interrupted(signum)
        elif self.at_once is None and signum == signal.SIGINT:
            raise Interrupted(signum)

    def _end_at_once(self) -> None:
        if self.at_once is not None:
            with suppress(InputError):  # exit even if the disk is full
                self.at_once()
        end_now(self._children, 128 + signal.SIGINT)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Install the handlers; until the first batch, a signal ends the run at once."""
        self._listen(trainer, patient=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on, stop only at the end of a batch."""
        self._listen(trainer, patient=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after the last epoch if a signal has arrived; from now on, a signal ends the run at once."""
        self._stop_together(trainer)
        self._listen(trainer, patient=False)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop after a batch, unless an evaluation or the end of the epoch follows, whose hooks stop the run."""
        if more_follow(trainer):
            self._stop_together(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs, after the previous one has written its files."""
        self._stop_together(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before an evaluation in training; otherwise, from now on, stop only at the end of a batch."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._stop_together(trainer)
        else:
            self._listen(trainer, patient=True)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on, stop only at the end of a batch."""
        self._listen(trainer, patient=True)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on, stop only at the end of a batch."""
        self._listen(trainer, patient=True)

    def _stop_within(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Stop this process after a batch of an evaluation, whose number of batches differs between processes."""
        if self.received is not None:
            signum = self.received
            if trainer.world_size > 1:
                end_later(self._children, 128 + signum)
            if trainer.state.fn == "fit" and not trainer.sanity_checking:
                self.last.save(trainer)
            raise Interrupted(signum)

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = _stop_within

    def _stop_together(self, trainer: Trainer) -> None:
        signum = agreed_signal(self.received, trainer)
        if signum:
            self.received = signum
            self.last.save(trainer)
            if signum == requeue_signal(trainer) and trainer.is_global_zero:
                requeue()
            raise Interrupted(signum)


class PeerWatchdog(Callback):
    """Ends this process when another process of the run has died, so that no collective operation waits for it.

    Args:
        died: called with the name of the dead process before this process ends.
        every: seconds between two checks.
    """

    def __init__(self, died: Callable[[str], None], every: float = 0.5) -> None:
        self.died, self.every = died, every
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the thread that checks the other processes."""
        if trainer.world_size > 1 and self._thread is None:
            children = list(getattr(trainer.strategy.launcher, "procs", []))
            self._thread = threading.Thread(target=self._check, args=(children, os.getppid()), daemon=True)
            self._thread.start()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Wait for a check, because the death of another process may have caused the exception; then stop."""
        if trainer.world_size > 1 and not isinstance(exception, Interrupted | InputError):
            self._over.wait(3 * self.every)
        self.stop()

    def stop(self) -> None:
        """Stop checking, because this process ends normally."""
        self._over.set()

    def _check(self, children: list[subprocess.Popen[bytes]], parent: int) -> None:
        while not self._over.wait(self.every):
            dead = next((f"process {rank} of the run" for rank, child in enumerate(children, 1) if child.poll()), None)
            if os.getppid() != parent:
                dead = "the process that started this one"
            if dead and not self._over.wait(self.every):  # unless this process is about to end for the same reason
                self.died(dead)
                end_now([child.pid for child in children if child.poll() is None], 1)


def agreed(value: int, trainer: Trainer) -> int:
    """Return the maximum of ``value`` over all processes."""
    if trainer.world_size == 1:
        return value
    maximum = torch.tensor(value)
    dist.all_reduce(maximum, dist.ReduceOp.MAX, group=_hosts())
    return int(maximum)


def agreed_signal(received: int | None, trainer: Trainer) -> int:
    """Return the signal that stops all processes, or 0; SIGTERM, by which a process stops the others, counts least."""
    ranked = (received or 0) + (64 if received and received != signal.SIGTERM else 0)
    return agreed(ranked, trainer) % 64


@cache
def _hosts() -> Any:
    """Return a process group on CPU, so that a reduction at every step does not wait for a GPU."""
    return None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def children_of(trainer: Trainer) -> list[int]:
    """Return the ids of the processes of the run that this process started."""
    return [child.pid for child in getattr(trainer.strategy.launcher, "procs", [])]


def parent_of(trainer: Trainer) -> list[int]:
    """Return the id of the process of the run that started this process; empty under torchrun and SLURM."""
    by_us = isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment)
    return [os.getppid()] if by_us and trainer.local_rank else []


def leave(error: BaseException, trainer: Trainer) -> NoReturn:
    """End this process of a run and the processes that it started, which would otherwise wait for each other."""
    children = children_of(trainer)
    if parent_of(trainer):
        code = 0  # the launching process reports the end; Lightning kills it within 5 seconds of any other code
    elif isinstance(error, Interrupted):
        code = 128 + error.signum
    else:
        code = 2 if isinstance(error, InputError) else 1
    end_later(children, code)
    if isinstance(error, InputError):
        echo(f"velm: error: {error}", file=sys.stderr)
    elif not isinstance(error, Interrupted):
        traceback.print_exception(error)
    elif trainer.is_global_zero:
        echo(stop_message(error), file=sys.stderr)
    end_service(GRACE, code)
    sys.stdout.flush()
    sys.stderr.flush()
    end_now(children, code)


def stop_message(error: Interrupted) -> str:
    """Return the message for a user whose run was stopped."""
    return f"velm: {error}; the same command with --resume auto continues it"


def discard_output_of_closed_terminal() -> None:
    """Let output go nowhere if its terminal has been closed: printing would fail before the run has stopped."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError as error:
            if error.errno == EIO:
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), descriptor)


def end_now(others: list[int], code: int) -> NoReturn:
    """End this process and ``others`` without waiting for anything."""
    for other in others:
        with suppress(OSError):
            os.kill(other, signal.SIGKILL)
    os._exit(code)


def end_later(others: list[int], code: int, seconds: float = GRACE) -> None:
    """End this process and ``others`` in ``seconds`` if this process is still alive."""

    def wait() -> None:
        time.sleep(seconds)
        end_now(others, code)

    threading.Thread(target=wait, daemon=True).start()

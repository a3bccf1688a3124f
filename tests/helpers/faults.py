"""Callbacks that cause a fault at a given step of a run, to be named in a command line."""

import contextlib
import os
import signal
import time

import torch
from lightning.pytorch.callbacks import Callback


class Fault(Callback):
    """A fault before the step after ``step`` optimiser steps, or in the evaluation after them.

    Args:
        step: number of completed optimiser steps.
        rank: rank of the process.
        place: ``train``, ``validation``, or ``validation end``.
    """

    def __init__(self, step: int, rank: int = 0, place: str = "train") -> None:
        self.step, self.rank, self.place = step, rank, place
        self.happened = False

    def happen(self, trainer):
        raise NotImplementedError

    def _now(self, trainer, place):
        here = place == self.place and trainer.state.fn == "fit" and trainer.global_rank == self.rank
        if here and trainer.global_step == self.step and not self.happened:
            self.happened = True
            self.happen(trainer)

    def on_train_batch_start(self, trainer, *_):
        self._now(trainer, "train")

    def on_validation_batch_start(self, trainer, *_):
        self._now(trainer, "validation")

    def on_validation_end(self, trainer, *_):
        self._now(trainer, "validation end")


class Signal(Fault):
    """Sends a signal to this process; ``KILL`` ends it at once.

    Args:
        once: a file that marks the fault as done for a resumed run.
    """

    def __init__(
        self, step: int, name: str = "KILL", rank: int = 0, place: str = "train", once: str | None = None
    ) -> None:
        super().__init__(step, rank, place)
        self.signum, self.once = signal.Signals[f"SIG{name}"], once
        self.happened = bool(once and os.path.exists(once))

    def happen(self, trainer):
        if self.once:
            open(self.once, "x").close()
        os.kill(os.getpid(), self.signum)


class Crash(Fault):
    """An error in the code of a user."""

    def happen(self, trainer):
        raise ArithmeticError("a mistake in user code")


class WrongLog(Fault):
    """A call of Lightning in the code of a user that Lightning refuses."""

    def happen(self, trainer):
        trainer.lightning_module.log("twice", torch.zeros(2))


class Poison(Fault):
    """A loss that is NaN."""

    def happen(self, trainer):
        task = trainer.lightning_module.task
        loss = task.loss

        def once(*arguments):
            del task.loss
            return loss(*arguments) * torch.tensor(float("nan"))

        task.loss = once


class Slow(Callback):
    """Slow steps that a test can interrupt; reports the start of the first one."""

    def __init__(self, seconds: float = 0.2) -> None:
        self.seconds = seconds

    def on_train_batch_start(self, trainer, *_):
        if not trainer.global_step:
            print(f"pid {os.getpid()} rank {trainer.global_rank}", flush=True)
        time.sleep(self.seconds)


class FullDisk(Fault):
    """Makes every later write fail.

    Args:
        file: the file that fills the disk.
    """

    def __init__(self, step: int, file: str) -> None:
        super().__init__(step)
        self.file = file

    def happen(self, trainer):
        with open(self.file, "wb", buffering=0) as file:
            for size in (2**16, 2**10, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))


HAPPENING = print
"""The function that ``Happening`` calls."""


class Happening(Fault):
    """Calls the function in ``HAPPENING``."""

    def happen(self, trainer):
        HAPPENING()

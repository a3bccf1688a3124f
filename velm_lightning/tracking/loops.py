"""Lightning's training loops, changed where they could not continue from a checkpoint as if nothing had happened."""

from __future__ import annotations

from typing import Any, cast

from lightning import Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from typing_extensions import override


class EpochLoop(_TrainingEpochLoop):
    """An epoch that is evaluated, and stopped, only after complete optimiser steps.

    Between the micro-batches of a step, the gathered gradient would be lost. An evaluation that is due there, and a
    stop that a callback asks for, wait for the end of the step.
    """

    @property
    def evaluation_pending(self) -> bool:
        """Whether the loop has been restored to a step whose evaluation is to be made or repeated."""
        evaluation: Any = self.val_loop.batch_progress.total
        return self.restarting and evaluation.started > evaluation.processed and self.evaluation_due

    @property
    def evaluation_due(self) -> bool:
        """Whether an evaluation belongs after the last batch."""
        fetcher = self.trainer.fit_loop._data_fetcher
        return fetcher is not None and self._should_check_val_fx(fetcher)

    @property
    def within_step(self) -> bool:
        """Whether a micro-batch of the same optimiser step comes next."""
        return self._should_accumulate() and not self._num_ready_batches_reached()

    @property
    @override
    def _is_validation_done(self) -> bool:
        return not self.evaluation_pending

    @property
    @override
    def done(self) -> bool:
        return not self.evaluation_pending and not self.within_step and super().done

    @override
    def run(self, data_fetcher: _DataFetcher) -> None:
        super().run(data_fetcher)
        self.on_iteration_done()  # also if nothing was left to do: the next epoch is no longer a restored one

    @override
    def reset(self) -> None:
        super().reset()
        # The label of log entries. Lightning restores a count that depends on the hook that wrote the checkpoint.
        # A restored loop first makes, repeats or skips an evaluation that is due, and then adds 1.
        first = self.restarting and self.evaluation_due and not self.done
        self._batches_that_stepped = self.global_step - int(first)

    @override
    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
        if self.within_step:
            return False
        return super()._should_check_val_fx(data_fetcher) or self._evaluation_passed()

    def _evaluation_passed(self) -> bool:
        """Return whether an evaluation was due after an earlier micro-batch of the optimiser step that has ended."""
        trainer, interval = self.trainer, self.trainer.val_check_batch
        if not isinstance(interval, int) or not self._should_check_val_epoch():
            return False
        progress = self.batch_progress
        now = progress.total.ready if trainer.check_val_every_n_epoch is None else progress.current.ready
        batches = (progress.current.ready - 1) % trainer.accumulate_grad_batches + 1
        return progress.current.ready > 0 and now // interval > (now - batches) // interval


class FitLoop(_FitLoop):
    """Lightning's outer loop, which resumes a run with ``max_steps`` like one with ``max_epochs``.

    With ``max_steps``, Lightning restores every checkpoint as one from within an epoch; it enters a completed epoch
    again and counts it twice. With any limit, it skips what the last step of a run still needs: its evaluation, and the
    end of its epoch.
    """

    @override
    def _iteration_based_training(self) -> bool:
        return False

    @property
    @override
    def done(self) -> bool:
        epoch: Any = self.epoch_loop
        return not (self.restarting and (epoch.evaluation_pending or epoch.done)) and super().done


def resumable(trainer: Trainer) -> EpochLoop:
    """Give a trainer the loops of this module, and return that of an epoch."""
    fit_loop = trainer.fit_loop
    fit_loop.__class__, fit_loop.epoch_loop.__class__ = FitLoop, EpochLoop
    return cast(EpochLoop, fit_loop.epoch_loop)


def set_position(loops: dict[str, Any], epochs: int, batches: int, evaluation_pending: bool) -> None:
    """Rewrite the state of the fit loop in a checkpoint as what comes next, whichever hook writes it.

    Lightning derives what comes next from counters that depend on the hook, and evaluates twice or not at all.

    Args:
        loops: state of the fit loop.
        epochs: number of completed epochs.
        batches: number of batches that the next epoch has completed; 0 if it has not begun.
        evaluation_pending: whether the evaluation after the last of these batches has not been completed.
    """
    progress = loops["epoch_loop.batch_progress"]
    repeated = progress["current"]["processed"] - batches if _within_epoch(loops["epoch_progress"]["current"]) else 0
    total_batches = progress["total"]["processed"] - repeated
    begun = epochs + (batches > 0)
    for part in ("total", "current"):
        loops["epoch_progress"][part] = {"ready": begun, "started": begun, "processed": epochs, "completed": epochs}
        loops["epoch_loop.val_loop.batch_progress"][part] = _counts(0)
    progress |= {"total": _counts(total_batches), "current": _counts(batches)}
    if evaluation_pending:
        loops["epoch_loop.val_loop.batch_progress"]["total"] |= {"ready": 1, "started": 1}


def _within_epoch(epochs: dict[str, int]) -> bool:
    return epochs["processed"] < epochs["started"]


def _counts(number: int) -> dict[str, int]:
    return dict.fromkeys(("ready", "started", "processed", "completed"), number)

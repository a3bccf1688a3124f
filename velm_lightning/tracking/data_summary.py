"""A summary of the data, printed before training, and the baseline scores ("floors"), stored with the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.data.collate import image_names
from velm_lightning.tasks.floors import Floors, describe, rows_of, training_answers
from velm_lightning.tracking.picture_sizes import describe_sizes
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.side_figures import side_figure
from velm_lightning.types import InputError, Sample


class DataSummary(Callback):
    """Prints a summary of the data when training starts, and writes ``floors`` into ``run.json`` with the scores.

    Args:
        run: the run; its record gets ``floors: {split: {majority: {answer, score, …}, prior: {score}}}``.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the size, the answers and the baseline scores of each split when training starts."""
        data: Any = getattr(trainer, "datamodule", None)
        if trainer.is_global_zero and data is not None:
            with side_figure("the summary of the data", InputError):
                print(*summary(data, pl_module.task), sep="\n")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the floors of the validation split after an evaluation outside of training."""
        if trainer.state.fn != "fit":
            self._write(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the floors of the test split after its evaluation."""
        self._write(trainer, pl_module, "test")

    def _write(self, trainer: Trainer, pl_module: Any, split: str) -> None:
        """Write the floors of a split, unless the training split has changed since the run was trained."""
        data: Any = getattr(trainer, "datamodule", None)
        if trainer.is_global_zero and data is not None and (training := self._learned_from(data)):
            floors: Floors = {}
            with side_figure(f"the baselines of {split}", InputError):
                floors = pl_module.task.floors(pl_module.rows, training)
            if floors:
                self.run.keep(self.run.names.get(split, split), floors=floors)

    def _learned_from(self, data: Any) -> Sequence[Sample]:
        """Return the training split; empty if it cannot be read or has changed since the run was trained."""
        learned = self.run.record.get("data", {}).get("train")
        try:
            same = data.has("train") and learned in (None, data.fingerprint("train"))
            return list(data.samples("train")) if same else []
        except InputError:
            return []


def summary(data: Any, task: Any) -> list[str]:
    """Return a line per split with its samples, images and answers; evaluation splits also get their floors."""
    training = data.samples("train")
    answers = training_answers(training)
    lines = []
    for split in ("train", "val", "test"):
        samples = data.samples(split) if data.has(split) else []
        if not samples:
            continue
        line = f"{split}: {len(samples):,} samples, {len(set(image_names(samples))):,} images"
        if split == "train" and answers:
            share = next(iter(answers.values()))
            line += f", {len(answers):,} different targets, the most frequent {share:.1%} of them"
        floors = describe(task.floors(rows_of(samples), training), task.signature(split).partition("|")[0])
        lines.append(f"{line}; {floors}" if floors and split != "train" else line)
    return [*lines, *filter(None, [describe_sizes(training, getattr(data, "transform", None))])]

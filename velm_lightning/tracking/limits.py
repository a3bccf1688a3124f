"""What the tokeniser and the list of answers allow at most, shown before a training and beside its scores."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.inspection.ceiling import ceiling, thin_targets
from velm_lightning.tracking.run import Run


class Limits(Callback):
    """Measures the ceiling of a run's score when training starts, prints it and keeps it in ``run.json``."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``tokenizer``, ``ceiling`` and ``limits``, the sentences that belong beside the scores."""
        data: Any = getattr(trainer, "datamodule", None)
        if data is None or not trainer.is_global_zero:
            return
        task: Any = pl_module.task
        words: Any = pl_module.vocabulary
        split = next((name for name in ("val", "test") if data.has(name)), "train")
        found = ceiling(task, data.samples(split), words)
        thin = thin_targets(data.samples("train"), words)
        limits = [*([found.describe(f"{split}/score")] if found else []), *([thin] if thin else [])]
        reason = data.tokenizing.reason or "that of the checkpoint"
        self.run.update(
            tokenizer={"reason": reason, "pieces": words.size},
            ceiling={split: {"score": found.score, "bytes": found.bytes, "samples": found.samples}} if found else {},
            limits=limits,
        )
        for line in (f"tokeniser: {reason}, {words.size} pieces", *limits):
            print(line)

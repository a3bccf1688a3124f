"""The highest score that tokeniser and answer list allow, printed before training and with the final scores."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.inspection.ceiling import ceiling, thin_targets
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.side_figures import side_figure
from velm_lightning.types import InputError


class Limits(Callback):
    """Measures the ceiling of a run's score when training starts, prints it and writes it to ``run.json``."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``tokenizer``, ``ceiling`` and ``limits`` (sentences to print with the scores) when training starts."""
        data: Any = getattr(trainer, "datamodule", None)
        if data is None or not trainer.is_global_zero:
            return
        with side_figure("the highest score that the tokeniser allows", InputError):
            self._measure(data, pl_module)

    def _measure(self, data: Any, pl_module: LightningModule) -> None:
        task: Any = pl_module.task
        words: Any = pl_module.vocabulary
        split = next((name for name in ("val", "test") if data.has(name)), "train")
        highest = ceiling(task, data.samples(split), words)
        thin = thin_targets(data.samples("train"), words)
        limits = [*([highest.describe(f"{split}/score")] if highest else []), *([thin] if thin else [])]
        figures = highest and {"score": highest.score, "bytes": highest.bytes, "samples": highest.samples}
        reason = data.tokenizing.reason or "that of the checkpoint"
        self.run.update(
            tokenizer={"reason": reason, "pieces": words.size},
            ceiling={split: figures} if figures else {},
            limits=limits,
        )
        for line in (f"tokeniser: {reason}, {words.size} pieces", *limits):
            print(line)

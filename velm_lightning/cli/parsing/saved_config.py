"""The config that a run keeps in its folder, from which it can be repeated and resumed."""

from __future__ import annotations

from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from velm_lightning.io.atomic import write_atomic
from velm_lightning.tracking.record import RunRecord
from velm_lightning.tracking.resuming import Resuming


class SaveConfig(SaveConfigCallback):
    """Writes the complete config into the run's folder; ``velm fit --config`` on it repeats the run."""

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Write nothing yet, so that a refused start leaves no files."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Write ``config.yaml`` and the tokeniser."""
        if not trainer.is_global_zero:
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        folder = next(callback.run.folder for callback in callbacks if isinstance(callback, RunRecord))
        next(callback for callback in callbacks if isinstance(callback, Resuming)).restore(self.config)
        write_atomic(folder / "config.yaml", config_text(self.parser, self.config))
        write_atomic(folder / "tokenizer" / "tokenizer.json", pl_module.vocabulary.tokenizer.to_str())


def config_text(parser: LightningArgumentParser, config: Any) -> str:
    """Return the complete config as YAML, without the options of a single start such as ``--resume``."""
    config = config.clone()
    config.ckpt_path = config.resume = config.resume_schedule = config.allow = None
    return str(parser.dump(config, skip_unset=False, skip_validation=True))

"""The callback that gives a run of any ``lightning.Trainer`` a run folder, as on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from typing_extensions import override

from velm_lightning.data import MultimodalData
from velm_lightning.errors import at_least
from velm_lightning.fusion import Fusion
from velm_lightning.io.argument_types import checked
from velm_lightning.io.atomic import write_atomic
from velm_lightning.tracking.callbacks.data_summary import DataSummary
from velm_lightning.tracking.callbacks.gallery import Gallery
from velm_lightning.tracking.callbacks.limits import Limits
from velm_lightning.tracking.callbacks.thumbnails import Thumbnails
from velm_lightning.tracking.callbacks.train_log import TrainLog
from velm_lightning.tracking.from_python.run_config import config_text
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.record import RunRecord
from velm_lightning.tracking.resuming import Choice, Resuming
from velm_lightning.tracking.run import Run, now
from velm_lightning.tracking.shutdown import Interrupted
from velm_lightning.types import InputError


class RunRecorder(Callback):
    """Writes the folder of a run: ``config.yaml``, ``run.json``, ``metrics.csv``, predictions, gallery, checkpoints.

    One recorder stands for one run. It works with any ``lightning.Trainer`` whose data are a ``MultimodalData``, next
    to the loggers of the trainer. It adds the callbacks that write the files, and the path of the run's folder to
    every ``ModelCheckpoint`` that has none.

    Args:
        experiment: Name of the experiment, which is the folder under ``runs``.
        runs: Folder of all runs.
        pictures: Number of samples in the gallery of an evaluation; 0 draws none.
        thumbnails: Number of small images that are stored next to the predictions, for reports.
        resume_schedule: The learning rate if the trainer resumes from a checkpoint (``ckpt_path``) with another number
            of steps: ``stretch`` follows the schedule of the new number, ``continue`` decays from the current rate to
            0. None raises in this case.

    Attributes:
        run: The run; None before the trainer starts.

    Raises:
        InputError: The model is not a fusion, or the data are not a ``MultimodalData``.

    Example:
        >>> import lightning
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(dim=8),
        ...                         task=velm.Classification(), vocabulary=data.vocabulary)
        >>> recorder = velm.RunRecorder("example", pictures=2)
        >>> trainer = lightning.Trainer(max_epochs=1, callbacks=[recorder], logger=False, accelerator="cpu")
        >>> trainer.fit(model, data)
        >>> recorder.run.record["status"]
        'finished'
    """

    @checked()
    def __init__(
        self,
        experiment: str = "python",
        runs: str | Path = "runs",
        pictures: int = 32,
        thumbnails: int = 200,
        resume_schedule: Choice | None = None,
    ) -> None:
        at_least(0, pictures=pictures, thumbnails=thumbnails)
        self.experiment, self.runs = experiment, Path(runs)
        self.pictures, self.thumbnails, self.resume_schedule = pictures, thumbnails, resume_schedule
        self.run: Run | None = None
        self.finishes = True  # whether the run is finished when its training is; `fit` also evaluates it
        self.train_log = TrainLog()
        self._config = ""
        self._parts: list[Callback] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        run = self._opened(trainer, pl_module)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if self._parts[0] not in callbacks:
            place = callbacks.index(self) + 1  # directly after this one, so that their `setup` is called next
            callbacks[place:place] = self._parts
        if stage != "fit":
            return
        self._config = self.config_of(trainer, pl_module, getattr(trainer, "datamodule", None))
        if not any(isinstance(logger, MetricsFile) for logger in trainer.loggers):
            trainer.loggers = [*trainer.loggers, MetricsFile(run.folder / "metrics.csv")]
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str((run.folder / "checkpoints").absolute())

    def _opened(self, trainer: Trainer, model: LightningModule) -> Run:
        """Return the run, which is created on the first call."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(model, Fusion) or not isinstance(data, MultimodalData):
            kinds = [type(part).__name__ for part in (model, data)]
            raise InputError(
                f"RunRecorder got a {kinds[0]} and data of type {kinds[1]}: call the trainer with a fusion and a "
                "MultimodalData, as in trainer.fit(model, data)"
            )
        if self.run is None:
            name = f"{type(model).__name__.lower()}-s{data.seed}"
            self.run = Run.of_launcher() or Run.create(self.runs, self.experiment, name)
        if not self._parts:
            record = RunRecord(self.run, self.train_log)
            record.logs_metrics = False  # the trainer's own log entries stay, so that `trainer.test` returns metrics
            side = [DataSummary(self.run), Limits(self.run), Gallery(self.run, self.pictures)]
            resuming = Resuming(
                self.config_of(trainer, model, data), self.run.folder / "config.yaml", self.resume_schedule
            )
            self._parts = [self.train_log, resuming, record, *side, Thumbnails(self.run, self.thumbnails)]
        return self.run

    def config_of(self, trainer: Trainer, model: Any, data: Any) -> str:
        """Return the text of ``config.yaml``."""
        return config_text(model, data, trainer, {"experiment": self.experiment, "runs": str(self.runs)})

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model: Any = pl_module
        if trainer.is_global_zero and self.run is not None:
            write_atomic(self.run.folder / "config.yaml", self._config)
            write_atomic(self.run.folder / "tokenizer" / "tokenizer.json", model.vocabulary.tokenizer.to_str())

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit" or self.run is None or not self.finishes:
            return
        if trainer.is_global_zero and self.run.record.get("status") == "running":
            best = getattr(trainer.checkpoint_callback, "best_model_path", "")
            self.run.update(status="finished", ended=now(), **({"checkpoint": Path(best).name} if best else {}))
        self.run.release()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self.run is not None:
            if self.run.record.get("status") == "running":
                stopped = isinstance(exception, KeyboardInterrupt | Interrupted)
                self.run.mark("interrupted" if stopped else "failed")
            self.run.release()

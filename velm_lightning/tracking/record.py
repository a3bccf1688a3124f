"""The callback that keeps ``run.json`` and the prediction files of a run up to date."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.inspection.cost import Flops, sample_flops
from velm_lightning.io.atomic import make_folder, remove_parts
from velm_lightning.metrics.sanity import diversity
from velm_lightning.metrics.signature import split_fingerprint
from velm_lightning.tasks.protocol import HasExtraMetrics
from velm_lightning.tasks.rows import group_scores, sizes
from velm_lightning.tracking.callbacks.train_log import TrainLog, logged_step
from velm_lightning.tracking.evaluations import conditions, covers_split, name_of, own_conditions
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.provenance import git_revision, summary_of, versions
from velm_lightning.tracking.resuming import Resuming
from velm_lightning.tracking.run import Run, now
from velm_lightning.tracking.run_cost import RunCost
from velm_lightning.tracking.shutdown import Interrupted
from velm_lightning.types import FilePart, InputError, Prediction, Sample

_log = logging.getLogger(__name__)


class RunRecord(Callback):
    """Updates ``run.json``, writes the prediction files, and logs all figures and the score of every group."""

    logs_metrics = True  # the model then does not

    def __init__(self, run: Run, log: TrainLog) -> None:
        self.run, self.train_log = run, log
        self.cost = RunCost(log)
        self.fitted = False  # whether this process has trained the run, so that its evaluations are the run's own
        self.predictions: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Use the run of rank 0 on all ranks, and claim it for training.

        Raises:
            InputError: another process uses the run, or a folder in it leads elsewhere.
        """
        self.run.move_to(Path(trainer.strategy.broadcast(str(self.run.folder))))
        for name in ("predictions", "gallery", *(("checkpoints", "tokenizer") if stage == "fit" else ())):
            self.run.place(name)
        if stage != "fit" or not trainer.is_global_zero:
            return
        make_folder(self.run.folder)
        if not self.run.claim():
            raise InputError(f"another process uses {self.run.folder}: wait until it ends, or start a new run")
        remove_parts(self.run.folder)

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the conditions of the start, sizes and costs, after checking that the run may be trained.

        Raises:
            InputError: the run is finished, or its data have changed since it was started.
        """
        data: Any = getattr(trainer, "datamodule", None)
        fingerprints = {name: data.fingerprint(name) for name in ("train", "val", "test") if data.has(name)}
        self._check(trainer, fingerprints)
        self.fitted = True
        model: Any = pl_module
        meeting = getattr(model, "meeting", None)
        with trainer.precision_plugin.forward_context():
            flops = sample_flops(model, data.split("train"))  # on all processes, because a model may gather
        if not trainer.is_global_zero:
            return
        with self.run.interpreting():
            self.cost.start(self.run.record)
        self.run.update(
            status="running",
            started=now(),
            command=sys.argv,
            seed=data.seed,
            world_size=trainer.world_size,
            precision=trainer.precision,
            devices=f"{trainer.num_devices} x {pl_module.device.type}",
            model=summary_of(pl_module),
            modalities=getattr(pl_module, "modalities", ()),
            meeting=meeting and meeting._asdict(),
            data=fingerprints,
            versions=versions(),
            git=git_revision(),
        )
        self.run.watch()
        self._sizes(pl_module, flops)

    def _check(self, trainer: Trainer, fingerprints: dict[str, str]) -> None:
        """Raise ``InputError`` if the run is finished or was trained on other data."""
        folder, before = self.run.folder, self.run.record.get("data", {})
        if self.run.record.get("status") == "finished" and not trainer.ckpt_path:
            raise InputError(f"{folder} holds a finished run: resume from one of its checkpoints, or start a new run")
        for name, fingerprint in fingerprints.items():
            if trainer.ckpt_path and before.get(name, fingerprint) != fingerprint:
                raise InputError(
                    f"the {name} split has changed since {folder} was started (its fingerprint was {before[name]}, is "
                    f"{fingerprint}): resume with the same data, or start a new run from the weights with "
                    f"--model.init_from {trainer.ckpt_path}"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the conditions of the start of a new run; a resumed run writes them in ``on_train_start``."""
        if not trainer.ckpt_path and not trainer.strategy.restore_checkpoint_after_setup:
            self._begin(trainer, pl_module)

    def _sizes(self, pl_module: LightningModule, flops: Flops | None) -> None:
        """Write the number of parameters and the FLOPs per sample."""
        trained = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        every = sum(p.numel() for p in pl_module.parameters())
        _log.info(
            "model: %s, %.2fM parameters, %.2fM of them trained", type(pl_module).__name__, every / 1e6, trained / 1e6
        )
        if flops:
            _log.info(flops.describe())
        self.run.update(
            training_flops_per_sample=flops and flops.training,
            inference_flops_per_sample=flops and flops.inference,
            parameters=every,
            trainable=trained,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print and write the step that a run resumes from, changed settings, and the samples left out per epoch."""
        if not self.fitted:
            self._begin(trainer, pl_module)
        if trainer.is_global_zero:
            if trainer.ckpt_path:
                _log.info("continuing after step %d from %s", trainer.global_step, trainer.ckpt_path)
            resuming = next((item for item in trainer.callbacks if isinstance(item, Resuming)), None)  # type: ignore[attr-defined]
            changed = resuming.changed if resuming else []
            start = {"step": trainer.global_step, "at": now(), "changed": changed}
            steps = trainer.estimated_stepping_batches
            self.run.update(
                starts=[*self.run.record.get("starts", []), start],
                planned_steps=int(steps) if math.isfinite(steps) else None,
            )
            if report := getattr(pl_module, "init_report", None):
                _log.info(report.summary())
                self.run.update(init_from={"path": report.path, "sha256": report.sha256, "left": sorted(report.left)})
            data: Any = getattr(trainer, "datamodule", None)
            if order := getattr(data, "order", None):
                self.run.update(left_out=order.left_out)
                if order.left_out:
                    _log.info(order.describe())

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Load the metrics before the step that the run resumes from."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile) and trainer.state.fn == "fit":
                logger.resume(checkpoint["global_step"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the metrics and the costs so far, so that the files match the checkpoint."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.flush()
        if trainer.is_global_zero:
            self.run.update(**self.cost.fields(trainer, self.run.record))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log figures and group scores; outside of training, also write the predictions."""
        if not trainer.sanity_checking:
            self._evaluated(trainer, pl_module, "val", final=trainer.state.fn != "fit")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions and the figures of the test split."""
        self._evaluated(trainer, pl_module, "test", final=True)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard the predictions of an earlier call."""
        self.predicted: list[Prediction] = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the predictions of a batch."""
        self.predicted += outputs

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the predictions of all ranks after the task has aggregated them, as retrieval needs for its ranks."""
        rows = self.predicted = pl_module.gather_predictions(self.predicted)
        if trainer.is_global_zero:
            data: Any = getattr(trainer, "datamodule", None)
            name = self._name(trainer, pl_module, data.predicted, rows)
            self.predictions = self.run.write_predictions(name, rows, file_names(data.samples(data.predicted)))

    def _evaluated(self, trainer: Trainer, pl_module: Any, split: str, final: bool) -> None:
        if not trainer.is_global_zero:
            return
        data: Any = getattr(trainer, "datamodule", None)
        name = self._name(trainer, pl_module, split, pl_module.rows) if final else split
        groups = {group: score for group, (_, score) in group_scores(pl_module.rows).items()}
        task = pl_module.task
        figures = task.compute_metrics(pl_module.rows)
        extra = task.extra_metrics() if isinstance(task, HasExtraMetrics) else {}
        logged = {f"{name}/{figure}": value for figure, value in (figures | extra).items()}
        logged |= {f"{name}/group/{group}": score for group, score in groups.items()}
        if data.on_bad_image == "skip":
            read = {row.key for row in pl_module.rows}
            logged[f"{name}/unreadable"] = sum(sample.key not in read for sample in data.samples(split))
        for logger in trainer.loggers:
            logger.log_metrics(logged, logged_step(trainer))
            logger.save()
        if not final:
            return
        self.run.write_predictions(name, pl_module.rows)
        self.run.keep(name, scores=figures | sizes(pl_module.rows), groups=groups)
        if extra:
            self.run.keep(name, beside=extra)
        if pl_module.rows and (sentences := _sentences(data)):  # no score: the rows do not suffice
            share = diversity([row.prediction for row in pl_module.rows], sentences).seen
            self.run.keep(name, seen_in_training=share)
        fingerprint = split_fingerprint((row.key, row.references) for row in pl_module.rows)
        self.run.keep(name, signatures=pl_module.task.signature(f"{name}:{fingerprint}"))
        signatures = self.run.record["signatures"]
        self.run.update(signature=next((signatures[split] for split in ("test", "val") if split in signatures), None))

    def _name(self, trainer: Trainer, pl_module: Any, split: str, rows: Sequence[Prediction]) -> str:
        """Return the name that an evaluation is stored under; store its conditions and print how they differ."""
        data: Any = getattr(trainer, "datamodule", None)
        now = conditions(trainer, split, summary_of(pl_module), rows)
        of_run = now if self.fitted else own_conditions(self.run, split, now, covers_split(trainer))
        title = data.title("predict" if trainer.predicting else split)
        name, different = name_of(title, now, of_run, data.file(split))
        if different:
            _log.info("stored as %s, separate from the run's own figures: %s", name, "; ".join(different))
        self.run.names[split] = name
        if not trainer.predicting:
            self.run.keep(name, evaluations=now._asdict())
        return name

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the time of the end and the costs; the run is finished only after its best checkpoint is evaluated."""
        if self.fitted and trainer.is_global_zero:  # otherwise no step was left to train
            self.run.update(ended=now(), **self.cost.fields(trainer, self.run.record))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Set the status to ``interrupted`` or ``failed``; the process that fails first writes it."""
        stopped = isinstance(exception, KeyboardInterrupt | Interrupted)
        with suppress(InputError):  # if the disk is full, report the exception rather than this
            if self.fitted:
                self.run.mark("interrupted" if stopped else "failed")
            if self.fitted and trainer.is_global_zero and trainer.state.fn == "fit":
                self.run.update(ended=now(), **self.cost.fields(trainer, self.run.record))


def file_names(samples: Sequence[Sample]) -> dict[str, str]:
    """Return the file of each sample's picture by the sample's key; samples whose pictures are no files have none."""
    return {sample.key: str(sample.image) for sample in samples if isinstance(sample.image, Path | FilePart)}


def _sentences(data: Any) -> list[str]:
    """Return the sentences of the training split, or an empty list if it cannot be read: no evaluation needs it."""
    try:
        sentences: list[str] = data.sentences("train")
    except InputError:
        return []
    return sentences

"""What a run is and what came out of it, written down while it goes on."""

from __future__ import annotations

import math
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.inspection.cost import Flops, peak_memory, sample_flops
from velm_lightning.io.atomic import make_folder, remove_parts
from velm_lightning.io.configurable import to_config
from velm_lightning.metrics.sanity import diversity
from velm_lightning.metrics.signature import split_fingerprint
from velm_lightning.tasks.protocol import HasExtraMetrics
from velm_lightning.tasks.rows import group_scores, sizes
from velm_lightning.tracking.evaluations import conditions, name_of, own_conditions, whole
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.resuming import Resuming
from velm_lightning.tracking.run import Run, now
from velm_lightning.tracking.shutdown import Interrupted
from velm_lightning.tracking.train_log import TrainLog, logged_step
from velm_lightning.types import InputError, Prediction


class RunRecord(Callback):
    """Keeps ``run.json`` true, writes the prediction files, and logs every figure and the score of every group."""

    def __init__(self, run: Run, log: TrainLog) -> None:
        self.run, self.train_log = run, log
        self.started, self.minutes_before = time.monotonic(), 0.0
        self.timed_before = {"samples": 0.0, "seconds": 0.0}
        self.fitted = False  # whether this process trains or has trained the run, and so decides what is its own
        self.predictions: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let all ranks use the run of rank 0, and take it for training.

        Raises:
            InputError: another process is at work on the run.
        """
        self.run.move_to(Path(trainer.strategy.broadcast(str(self.run.folder))))
        if stage != "fit" or not trainer.is_global_zero:
            return
        make_folder(self.run.folder)
        if not self.run.claim():
            raise InputError(f"another process is at work on {self.run.folder}: wait for its end, or start a new run")
        remove_parts(self.run.folder)

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down how the run was started, sizes and costs; if it goes on, once nothing speaks against it any more.

        Raises:
            InputError: the run is finished, or its data have changed since.
        """
        data: Any = getattr(trainer, "datamodule", None)
        fingerprints = {name: data.fingerprint(name) for name in ("train", "val", "test") if data.has(name)}
        self._check(trainer, fingerprints)
        self.fitted = True
        model: Any = pl_module
        with trainer.precision_plugin.forward_context():
            cost = sample_flops(model, data.split("train"))  # by all processes: a model may gather
        if not trainer.is_global_zero:
            return
        self.started = time.monotonic()
        self.minutes_before = self.run.record.get("minutes", 0.0)  # if an earlier run goes on
        self.timed_before = self.run.record.get("timed", self.timed_before)
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
            data=fingerprints,
            versions=versions(),
            git=git_revision(),
        )
        self.run.watch()
        self._sizes(pl_module, cost)

    def _check(self, trainer: Trainer, fingerprints: dict[str, str]) -> None:
        """Refuse to train in the folder of a run that is finished, or that was trained on other data."""
        folder, before = self.run.folder, self.run.record.get("data", {})
        if self.run.record.get("status") == "finished" and not trainer.ckpt_path:
            raise InputError(f"{folder} holds a finished run: go on from one of its checkpoints, or start a new run")
        for name, fingerprint in fingerprints.items():
            if trainer.ckpt_path and before.get(name, fingerprint) != fingerprint:
                raise InputError(
                    f"the {name} split has changed since {folder} was started (its fingerprint was {before[name]}, is "
                    f"{fingerprint}): go on with the same data, or start a new run from the weights with "
                    f"--model.init_from {trainer.ckpt_path}"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down how a new run was started."""
        if not trainer.ckpt_path and not trainer.strategy.restore_checkpoint_after_setup:
            self._begin(trainer, pl_module)

    def _sizes(self, pl_module: LightningModule, cost: Flops | None) -> None:
        """Write down sizes, and what a sample costs."""
        if cost:
            print(cost.said())
        self.run.update(
            training_flops_per_sample=cost and cost.training,
            inference_flops_per_sample=cost and cost.inference,
            parameters=sum(p.numel() for p in pl_module.parameters()),
            trainable=sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where a run goes on, with which changes, and what an epoch leaves out."""
        if not self.fitted:
            self._begin(trainer, pl_module)
        if trainer.is_global_zero:
            if trainer.ckpt_path:
                print(f"going on after step {trainer.global_step} from {trainer.ckpt_path}")
            resuming = next((one for one in trainer.callbacks if isinstance(one, Resuming)), None)  # type: ignore[attr-defined]
            changed = resuming.changed if resuming else []
            start = {"step": trainer.global_step, "at": now(), "changed": changed}
            self.run.update(starts=[*self.run.record.get("starts", []), start])
            if taken := getattr(pl_module, "taken", None):
                print(taken.said())
                self.run.update(init_from={"path": taken.path, "sha256": taken.sha256, "left": sorted(taken.left)})
            data: Any = getattr(trainer, "datamodule", None)
            if order := getattr(data, "order", None):
                self.run.update(left_out=order.left_out)
                if order.left_out:
                    print(order.said())

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take over the figures up to the step from which the run goes on."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile) and trainer.state.fn == "fit":
                logger.resume(checkpoint["global_step"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Bring the metrics and the record on disk up to the checkpoint."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.flush()
        if trainer.is_global_zero:
            self.run.update(**self._cost(trainer))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log group scores; outside training, write the rows."""
        if not trainer.sanity_checking:
            self._evaluated(trainer, pl_module, "val", final=trainer.state.fn != "fit")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the rows and the figures of the test split."""
        self._evaluated(trainer, pl_module, "test", final=True)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a new table."""
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
        """Keep the rows of a batch."""
        self.predicted += outputs

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the rows of all ranks, as the task finishes them: those of a search get their ranks here."""
        rows = pl_module.finished(self.predicted)
        if trainer.is_global_zero:
            data: Any = getattr(trainer, "datamodule", None)
            name = self._name(trainer, pl_module, data.predicted, rows)
            self.predictions = self.run.write_predictions(name, rows)

    def _evaluated(self, trainer: Trainer, pl_module: Any, split: str, final: bool) -> None:
        if not trainer.is_global_zero:
            return
        data: Any = getattr(trainer, "datamodule", None)
        name = self._name(trainer, pl_module, split, pl_module.rows) if final else split
        groups = {group: score for group, (_, score) in group_scores(pl_module.rows).items()}
        task = pl_module.task
        figures = task.compute_metrics(pl_module.rows)
        beside = task.extra_metrics() if isinstance(task, HasExtraMetrics) else {}
        logged = {f"{name}/{figure}": value for figure, value in (figures | beside).items()}
        logged |= {f"{name}/group/{group}": score for group, score in groups.items()}
        if data.on_bad_image == "skip":
            found = {row.key for row in pl_module.rows}
            logged[f"{name}/unreadable"] = sum(one.key not in found for one in data.samples(split))
        for logger in trainer.loggers:
            logger.log_metrics(logged, logged_step(trainer))
            logger.save()
        if not final:
            return
        self.run.write_predictions(name, pl_module.rows)
        self.run.keep(name, scores=figures | sizes(pl_module.rows), groups=groups)
        if beside:
            self.run.keep(name, beside=beside)
        if pl_module.rows and (sentences := _sentences(data)):  # no score: it takes more than the rows to tell
            share = diversity([row.prediction for row in pl_module.rows], sentences).seen
            self.run.keep(name, seen_in_training=share)
        fingerprint = split_fingerprint((row.key, row.references) for row in pl_module.rows)
        self.run.keep(name, signatures=pl_module.task.signature(f"{name}:{fingerprint}"))
        signatures = self.run.record["signatures"]
        self.run.update(signature=next((signatures[own] for own in ("test", "val") if own in signatures), None))

    def _name(self, trainer: Trainer, pl_module: Any, split: str, rows: Sequence[Prediction]) -> str:
        """Return under which name an evaluation is kept, and keep what decides it; print what is not the run's own."""
        data: Any = getattr(trainer, "datamodule", None)
        now = conditions(trainer, split, summary_of(pl_module), rows)
        own = now if self.fitted else own_conditions(self.run, split, now, whole(trainer))
        title = data.title("predict" if trainer.predicting else split)
        name, different = name_of(title, now, own, data.file(split))
        if different:
            print(f"kept as {name}, apart from the run's own figures: {'; '.join(different)}")
        self.run.names[split] = name
        if not trainer.predicting:
            self.run.keep(name, evaluations=now._asdict())
        return name

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down what it cost; it is finished once its best checkpoint has been evaluated."""
        if self.fitted and trainer.is_global_zero:  # else there was nothing left to train
            self.run.update(ended=now(), **self._cost(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write down that it did not end well; whichever process fails first does."""
        stopped = isinstance(exception, KeyboardInterrupt | Interrupted)
        with suppress(InputError):  # where nothing can be written any more, the reason for the end is worth telling
            if self.fitted:
                self.run.mark("interrupted" if stopped else "failed")
            if self.fitted and trainer.is_global_zero and trainer.state.fn == "fit":
                self.run.update(ended=now(), **self._cost(trainer))

    def _cost(self, trainer: Trainer) -> dict[str, Any]:
        """Return what the run has cost so far, and what it has learned.

        ``samples_per_second`` is the mean over training, of all processes and all starts of the run, without evaluation
        and without the time before the first row of each start (see ``TrainLog``); None if a run is too short to tell.
        ``epoch_loss`` is the mean training loss of the last epoch that came to its end.
        """
        minutes = self.minutes_before + (time.monotonic() - self.started) / 60
        log = self.train_log
        timed = {
            "samples": self.timed_before["samples"] + log.timed_samples,
            "seconds": self.timed_before["seconds"] + log.timed_seconds,
        }
        return {
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "minutes": round(minutes, 3),
            "device_minutes": round(minutes * trainer.world_size, 3),
            "timed": timed,
            "samples_per_second": round(timed["samples"] / timed["seconds"], 1) if timed["seconds"] else None,
            "epoch_loss": self.run.record.get("epoch_loss") if math.isnan(log.epoch_loss) else log.epoch_loss,
            "peak_memory_mib": round(peak_memory() / 2**20),
        }


def _sentences(data: Any) -> list[str]:
    """Return the sentences of the training split; none if it cannot be read, which no evaluation needs."""
    try:
        found: list[str] = data.sentences("train")
    except InputError:
        return []
    return found


def summary_of(model: Any) -> dict[str, Any]:
    """Return the classes and arguments of a model, its vocabulary left out."""
    written = to_config(model)
    written["init_args"].pop("vocabulary", None)
    return dict(written)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result."""
    names = ("velm_lightning", "lightning", "torch", "torchvision", "transformers", "tokenizers", "numpy", "wandb")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def git_revision() -> str | None:
    """Return the commit of the working folder, marked ``+`` where files differ from it."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")

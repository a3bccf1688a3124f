"""What is written down while a run goes on."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from typing import Any, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from rich.console import Console
from rich.table import Table
from torch import Tensor

from velm_lightning.cost import flops, peak_memory
from velm_lightning.metrics.sanity import diversity
from velm_lightning.metrics.signature import split_fingerprint
from velm_lightning.recipe import recipe
from velm_lightning.tasks.rows import gather_rows, group_scores
from velm_lightning.tracking.ending import Interrupted
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.run import Run, now
from velm_lightning.tracking.whole import make_folder, remove_parts
from velm_lightning.types import Batch, InputError, Row


class TrainLog(Callback):
    """Logs loss, learning rate, gradient norm and throughput every ``log_every_n_steps`` steps, and nothing between.

    The loggers are called directly: ``self.log`` would cost more than a small model's layer at every step.
    """

    def __init__(self) -> None:
        self.samples, self.since = 0, time.perf_counter()
        self.unreadable, self.throughput = 0, 0.0
        self.loss = float("nan")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock: time spent in validation does not count."""
        self.samples, self.since = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch; log where it is time."""
        self.samples += batch.size
        order = getattr(getattr(trainer, "datamodule", None), "order", None)
        self.unreadable += order.batch_size - batch.size if order else 0
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        self.loss = float(outputs["loss"])
        elapsed = time.perf_counter() - self.since
        self.throughput = self.samples * trainer.world_size / elapsed
        self.samples, self.since = 0, time.perf_counter()
        found = {
            "train/loss": self.loss,
            "train/learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train/samples_per_second": self.throughput,
            "epoch": trainer.current_epoch,
        }
        if self.unreadable:
            found["train/unreadable"] = self.unreadable
        norm = getattr(pl_module, "grad_norm", None)
        if isinstance(norm, Tensor):
            found["train/grad_norm"] = float(norm)
        for logger in trainer.loggers:
            logger.log_metrics(found, logged_step(trainer))
            logger.save()


class Progress(RichProgressBar):
    """Lightning's bar, redrawn a few times a second rather than at every step, with the loss that was logged last."""

    def __init__(self, log: TrainLog, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self.train_log = log

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Add the loss."""
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        if self.train_log.loss == self.train_log.loss:
            items["loss"] = round(self.train_log.loss, 4)
        return items


class RunRecord(Callback):
    """Keeps ``run.json`` true, writes the prediction files, and logs every figure and the score of every group."""

    def __init__(self, run: Run, log: TrainLog) -> None:
        self.run, self.train_log = run, log
        self.started, self.minutes_before = time.monotonic(), 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write down what is known before the first step.

        Raises:
            InputError: another process is at work on the run.
        """
        if stage != "fit" or not trainer.is_global_zero:
            return
        data: Any = getattr(trainer, "datamodule", None)
        self.started = time.monotonic()
        self.minutes_before = self.run.record.get("minutes", 0.0)  # where an earlier run goes on
        make_folder(self.run.folder)
        if not self.run.claim():
            raise InputError(f"another process is at work on {self.run.folder}: wait for its end, or start a new run")
        remove_parts(self.run.folder)
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
            data={name: data.fingerprint(name) for name in ("train", "val", "test") if data.has(name)},
            versions=versions(),
            git=git_revision(),
        )
        self.run.watch()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down sizes and costs that the built model tells."""
        if trainer.is_global_zero:
            data: Any = getattr(trainer, "datamodule", None)
            split = data.split("train")
            batch = split.pictured(range(min(8, len(split)))).first(1)  # from picture to answer, features kept or not
            self.run.update(
                flops_per_sample=flops(cast(Any, pl_module), batch.to(pl_module.device)),
                parameters=sum(p.numel() for p in pl_module.parameters()),
                trainable=sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where a run goes on, and what an epoch leaves out."""
        if trainer.is_global_zero:
            if trainer.ckpt_path:
                self.run.update(
                    resumed=[*self.run.record.get("resumed", []), {"step": trainer.global_step, "at": now()}]
                )
                print(f"going on after step {trainer.global_step} from {trainer.ckpt_path}")
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
        self.predicted: list[Row] = []

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
        rows = pl_module.task.finish(pl_module, gather_rows(self.predicted))
        if trainer.is_global_zero:
            self.run.write_predictions(trainer.datamodule.title("predict"), rows)  # type: ignore[attr-defined]

    def _evaluated(self, trainer: Trainer, pl_module: Any, split: str, final: bool) -> None:
        if not trainer.is_global_zero:
            return
        groups = group_scores(pl_module.rows)
        figures, beside = pl_module.task.figures(pl_module.rows), pl_module.task.beside()
        data: Any = getattr(trainer, "datamodule", None)
        split = data.title(split)
        logged = {f"{split}/{name}": value for name, value in figures.items()}
        logged |= {f"{split}/{name}": value for name, value in beside.items()}
        logged |= {f"{split}/group/{name}": score for name, (_, score) in groups.items()}
        if data.on_bad_image == "skip":
            found = {row.key for row in pl_module.rows}
            logged[f"{split}/unreadable"] = sum(one.key not in found for one in data.samples(split))
        for logger in trainer.loggers:
            logger.log_metrics(logged, logged_step(trainer))
            logger.save()
        if not final:
            return
        self.run.write_predictions(split, pl_module.rows)
        figures |= {"samples": len(pl_module.rows)}
        fingerprint = split_fingerprint((row.key, row.references) for row in pl_module.rows)
        scores = self.run.record.get("scores", {}) | {split: figures}
        grouped = self.run.record.get("groups", {}) | {split: {name: score for name, (_, score) in groups.items()}}
        self.run.update(scores=scores, groups=grouped)
        if beside:
            self.run.update(beside=self.run.record.get("beside", {}) | {split: beside})
        if pl_module.rows and (sentences := data.sentences("train")):  # no score: it takes more than the rows to tell
            share = diversity([row.prediction for row in pl_module.rows], sentences).seen
            self.run.update(seen_in_training=self.run.record.get("seen_in_training", {}) | {split: share})
        if not data.incongruent:
            self.run.update(signature=pl_module.task.signature(f"{split}:{fingerprint}"))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down what it cost; it is finished once its best checkpoint has been evaluated."""
        if trainer.is_global_zero:
            self.run.update(ended=now(), **self._cost(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write down that it did not end well; whichever process fails first does."""
        stopped = isinstance(exception, KeyboardInterrupt | Interrupted)
        with suppress(InputError):  # where nothing can be written any more, the reason for the end is worth telling
            if trainer.state.fn == "fit" or self.run.record.get("status") == "running":
                self.run.mark("interrupted" if stopped else "failed")
            if trainer.is_global_zero and trainer.state.fn == "fit":
                self.run.update(ended=now(), **self._cost(trainer))

    def _cost(self, trainer: Trainer) -> dict[str, Any]:
        minutes = self.minutes_before + (time.monotonic() - self.started) / 60
        return {
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "minutes": round(minutes, 3),
            "device_minutes": round(minutes * trainer.world_size, 3),
            "samples_per_second": round(self.train_log.throughput, 1) or None,  # a run may be too short to tell
            "peak_memory_mib": round(peak_memory() / 2**20),
        }


def logged_step(trainer: Trainer) -> int:
    """Return the step that Lightning's own entries carry at this moment."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def summary_of(model: Any) -> dict[str, Any]:
    """Return the classes and arguments of a model, its vocabulary left out."""
    written = recipe(model)
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


def print_scores(run: Run, console: Console | None = None) -> None:
    """Print the figures of a run and the score of every group as a table."""
    record = run.record
    splits = sorted(record.get("scores", {}), key=lambda split: (not split.startswith("val"), split))
    table = Table(title=f"{run.ident} · {record.get('signature', '')}", title_justify="left")
    table.add_column("figure")
    for split in splits:
        table.add_column(f"{split} ({record['scores'][split]['samples']})", justify="right")
    names = dict.fromkeys(name for split in splits for name in record["scores"][split] if name != "samples")
    for name in names:
        table.add_row(name, *(_shown(record["scores"][split].get(name)) for split in splits))
    if seen := record.get("seen_in_training"):
        table.add_row("seen_in_training", *(_shown(seen.get(split)) for split in splits))
    beside = record.get("beside", {})
    for name in dict.fromkeys(name for split in splits for name in beside.get(split, ())):
        table.add_row(name, *(_shown(beside.get(split, {}).get(name)) for split in splits))
    table.add_section()
    for name in dict.fromkeys(name for split in splits for name in record["groups"][split]):
        table.add_row(f"score · {name}", *(_shown(record["groups"][split].get(name)) for split in splits))
    (console or Console()).print(table)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"

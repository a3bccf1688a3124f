"""Trains a small model with any limits, keeps every checkpoint that is written, and continues from each of them.

Run as a script with a folder, it does so for ``CASES`` with two processes.
"""

import math
import os
import shutil
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from helpers import tiny
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint, Timer
from lightning.pytorch.callbacks import timer as timer_module

from velm_lightning.data import MultimodalData
from velm_lightning.tasks import Classification
from velm_lightning.tracking.callbacks.train_log import TrainLog, logged_step
from velm_lightning.tracking.checkpoint_files import AtomicCheckpointIO, LastCheckpoint, steps_done
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.resuming import Resuming
from velm_lightning.tracking.shutdown import Signals

BATCHES = 5
"""Batches of an epoch."""

CASES = (
    {"max_steps": 2 * BATCHES},
    {"max_steps": 2 * BATCHES + 1, "val_check_interval": 2},
    {"max_steps": 6, "accumulate_grad_batches": 2, "val_check_interval": 3},
    {"max_epochs": 3, "accumulate_grad_batches": 3, "patience": 1},
)


class Files(AtomicCheckpointIO):
    """Keeps a copy of every checkpoint that is written."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        super().save_checkpoint(checkpoint, path, storage_options)
        self.folder.mkdir(exist_ok=True)
        self.count += 1
        name = f"{self.count:03d}-{Path(path).stem}-{checkpoint['global_step']}.ckpt"
        shutil.copy(path, self.folder / name)


class Often(Checkpoint):
    """Writes a checkpoint after every micro-batch, evaluation and epoch."""

    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, *_):
        trainer.save_checkpoint(self.path)

    def on_validation_end(self, trainer, pl_module):
        if (
            not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        ):  # the best checkpoint waits for the epoch's end
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.path)


class Watch(Callback):
    """Records the keys of every batch, and logs the score of every evaluation; each batch takes one second."""

    def __init__(self):
        self.batches, self.evaluations, self.clock = [], [], 0.0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch_idx, trainer.global_step, batch.keys))

    def on_train_batch_end(self, trainer, *_):
        self.clock += 1

    def on_validation_end(self, trainer, pl_module):
        self.evaluations.append((trainer.current_epoch, trainer.global_step, logged_step(trainer)))
        loss = sum(row.loss for row in pl_module.rows)
        trainer.logger.log_metrics({"val/loss": loss}, logged_step(trainer))

    def monotonic(self):
        return self.clock


class Run:
    """One training, from its start or from a checkpoint, and what it leaves."""

    def __init__(self, folder, checkpoint=None, workers=0, patience=9, seconds=None, **settings):
        seed_everything(3, verbose=False)
        data = MultimodalData(
            tiny.Samples(train=tiny.many(4 * BATCHES + 2), val=tiny.many(6, "val")),
            batch_size=4 // settings.get("devices", 1), num_workers=workers,
        )  # fmt: skip
        model = tiny.fusion(vocabulary=data.vocabulary, task=Classification(dropout=0.3))
        self.watch, self.files, self.log = Watch(), Files(folder / "written"), TrainLog()
        self.metrics = MetricsFile(folder / "metrics.csv")
        self.best = ModelCheckpoint(folder, "best", "val/score", mode="max", enable_version_counter=False)
        self.stopping = EarlyStopping("val/score", patience=patience, mode="max", check_on_train_epoch_end=False)
        last = LastCheckpoint(folder / "last.ckpt", 0 if checkpoint else 1)
        self.signals = Signals(last)
        callbacks = [self.watch, self.log, Resuming("{}", folder / "none"), self.stopping, self.signals]
        if seconds:
            callbacks.append(Timer(timedelta(seconds=seconds), verbose=False))
        often = [] if checkpoint else [Often(folder / "often.ckpt")]
        timer_module.time = self.watch
        self.trainer = Trainer(
            accelerator="cpu", logger=self.metrics, callbacks=[*callbacks, self.best, *often, last],
            plugins=[self.files], log_every_n_steps=1, num_sanity_val_steps=0, use_distributed_sampler=False,
            gradient_clip_val=1.0, enable_progress_bar=False, enable_model_summary=False,
            **{"max_epochs": -1} | settings,
        )  # fmt: skip
        try:
            self.trainer.fit(model, data, ckpt_path=checkpoint)
        finally:
            timer_module.time = sys.modules["time"]
            self.signals.restore()
        self.weights = model.state_dict()

    def rows(self):
        return {
            step: {name: value for name, value in row.items() if "per_second" not in name}
            for step, row in self.metrics.rows.items()
        }

    def summary(self):
        """What an uninterrupted run and a resumed one must have in common at their end."""
        return {
            "step": self.trainer.global_step,
            "epoch": self.trainer.current_epoch,
            "stopped": (self.trainer.should_stop, int(self.stopping.wait_count)),
            "best": float(self.best.best_model_score or math.nan),
            "mean loss of the last epoch": self.log.epoch_loss,
        }


def within(row, whole):
    """Whether a row holds the figures of another, from which an earlier start may have written some."""
    return all(name in whole and repr(value) == repr(whole[name]) for name, value in row.items())


def differences(resumed, whole):
    """Yield what a resumed run did otherwise than the rest of an uninterrupted one."""
    batches, evaluations = resumed.watch.batches, resumed.watch.evaluations
    if batches != whole.watch.batches[len(whole.watch.batches) - len(batches) :]:
        yield f"batches {batches} of {whole.watch.batches}"
    if evaluations != whole.watch.evaluations[len(whole.watch.evaluations) - len(evaluations) :]:
        yield f"evaluations {evaluations} of {whole.watch.evaluations}"
    rows = whole.rows()
    for step, row in resumed.rows().items():
        if not within(row, rows.get(step, {})):
            yield f"row {row} of {rows.get(step)}"
    ours, theirs = resumed.summary(), whole.summary()
    if repr(ours) != repr(theirs):
        yield f"{ours}, not {theirs}"
    if not all(torch.equal(weight, whole.weights[name]) for name, weight in resumed.weights.items()):
        yield "other weights"


def check(folder, names="*", **settings):
    """Continue from the checkpoints of an uninterrupted run, one per position.

    Returns:
        The differences by checkpoint, and the number of checkpoints.
    """
    whole = Run(folder, **settings)
    kept = (folder / "written").rename(folder / "kept") if whole.trainer.is_global_zero else folder / "kept"
    whole.trainer.strategy.barrier()
    paths = {steps_done(path): path for path in sorted(kept.glob(names))}
    wrong = {}
    for path in paths.values():
        if different := list(differences(Run(folder, path, **settings), whole)):
            wrong[path.name] = different
    return wrong, len(paths)


def main(folder):
    """Print the differences of the first process, whose buffers and logs are those that a run keeps."""
    warnings.simplefilter("ignore")
    for number, case in enumerate(CASES):
        shared = Path(folder) / str(number)
        shared.mkdir(exist_ok=True)
        wrong, count = check(shared, devices=2, strategy="ddp", **case)
        if os.environ["LOCAL_RANK"] == "0":
            print(f"{count} checkpoints, {len(wrong)} differ: {wrong}", flush=True)
    os._exit(0)  # Lightning's launcher would wait for the other process, and that for it


if __name__ == "__main__":
    main(sys.argv[1])

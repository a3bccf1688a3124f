"""Starts and stops runs, and reads the files that they write."""

import csv
import json
import time

import torch
from helpers.command_line import CONF, SMALL

DATA = "--data.dataset.init_args"


WORDS = [
    *("fit", "--config", CONF / "vqa.yaml"),
    *(f"{DATA}.{name}" for name in ("train=26", "val=7", "test=5", "questions_per_scene=1")),
    *SMALL,
    *("--model.init_args.dropout=0.3", "--model.init_args.task.init_args.dropout=0.3"),
    "--data.augment=[{class_path: torchvision.transforms.v2.RandomHorizontalFlip}]",
    *("--data.batch_size=4", "--trainer.max_epochs=3", "--trainer.log_every_n_steps=1", "--trainer.accelerator=cpu"),
    *("--tracking.wandb=off", "--tracking.pictures=1"),
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
]


class Left:
    """The files of a run."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def record(self):
        return json.loads((self.folder / "run.json").read_text())

    def metrics(self):
        with (self.folder / "metrics.csv").open(newline="") as file:
            return [{k: v for k, v in row.items() if k != "train/samples_per_second"} for row in csv.DictReader(file)]

    def predictions(self):
        return {path.name: path.read_text("utf-8") for path in (self.folder / "predictions").iterdir()}

    def weights(self, name="last"):
        return torch.load(self.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def only_run(folder):
    (run,) = (folder / "runs" / "vqa").iterdir()
    return Left(run)


def wait_for_the_mark(folder):
    """Wait until the watcher has marked a killed run."""
    until = time.monotonic() + 20
    while only_run(folder).record["status"] != "failed":
        assert time.monotonic() < until
        time.sleep(0.1)


def fault(kind, **arguments):
    settings = (f"--trainer.callbacks.{name}={value}" for name, value in arguments.items())
    return [f"--trainer.callbacks+=helpers.faults.{kind}", *settings]


def same(left, whole):
    """Compare every figure of every step, every prediction and every weight."""
    assert left.metrics() == whole.metrics()
    assert left.predictions() == whole.predictions()
    assert left.record["scores"] == whole.record["scores"]
    for name in ("last", "best"):
        ours, theirs = left.weights(name), whole.weights(name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)

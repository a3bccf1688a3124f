"""A run that was stopped anywhere goes on as if it had not been: the same losses, figures and files, bit by bit."""

import csv
import json

import pytest
import torch
from command_line import CONF, SMALL

DATA = "--data.dataset.init_args"
WORDS = [
    *("fit", "--config", CONF / "vqa.yaml"),
    *(f"{DATA}.{name}" for name in ("train=26", "val=7", "test=5", "questions_per_scene=1")),
    *SMALL,
    *("--model.init_args.dropout=0.3", "--model.init_args.task.init_args.dropout=0.3"),
    "--data.augment=[{class_path: torchvision.transforms.v2.RandomHorizontalFlip}]",
    *("--data.batch_size=4", "--trainer.max_epochs=3", "--trainer.log_every_n_steps=1", "--trainer.accelerator=cpu"),
    *("--tracking.wandb=off", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
]
STEPS = 18  # six an epoch; two of the 26 samples are left out of each


class Left:
    """What a run left on disk."""

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
    (found,) = (folder / "runs" / "vqa").iterdir()
    return Left(found)


def fault(kind, **arguments):
    return [f"--trainer.callbacks+=faults.{kind}", *(f"--trainer.callbacks.{k}={v}" for k, v in arguments.items())]


def same(left, whole):
    """Every figure at every step, every prediction and every weight."""
    assert left.metrics() == whole.metrics()
    assert left.predictions() == whole.predictions()
    assert left.record["scores"] == whole.record["scores"]
    for name in ("last", "best"):
        ours, theirs = left.weights(name), whole.weights(name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, here_in):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert here_in(folder, *WORDS) == 0
    return only_run(folder)


@pytest.mark.parametrize("step", [1, 7, 12, 17], ids="after {} steps".format)
def test_a_run_that_broke_off_goes_on_to_the_same_losses(whole, here, tmp_path, step):
    with pytest.raises(ArithmeticError):
        here(*WORDS, *fault("Crash", step=step), "--save_every_n_steps=1" if step % 2 else "--save_every_n_steps=0")
    broken = only_run(tmp_path)
    assert broken.record["status"] == "failed"
    config = broken.folder / "config.yaml"
    assert here("fit", "--config", config, "--trainer.callbacks=null", "--ckpt_path=last") == 0
    same(only_run(tmp_path), whole)
    assert broken.record["status"] == "finished"

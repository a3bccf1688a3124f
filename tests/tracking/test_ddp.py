"""Runs of several processes score every sample once and give the same figures as one process, to the last digit.

The validation and test splits have prime numbers of samples, so that no number of processes divides them.
"""

import csv
import json

import pytest
import torch
from helpers.command_line import CONF, SMALL, velm

pytestmark = pytest.mark.slow

SAMPLES = {"val": 37, "test": 31}
CNN = [word for word in SMALL if "image_encoder" in word]
# No dropout and no batch norm, so that several processes learn the same as one process with the whole batch.
VIT = [
    "--model.init_args.image_encoder=SmallViT",
    *(f"--model.init_args.image_encoder.init_args.{name}" for name in ("size=16", "patch=8", "dim=16", "depth=1")),
]
WORDS = [
    *("--config", CONF / "vqa.yaml", "--model=EarlyFusion"),
    *("--data.dataset.init_args.train=64", "--data.dataset.init_args.questions_per_scene=1"),
    *(f"--data.dataset.init_args.{split}={count}" for split, count in SAMPLES.items()),
    *(word for word in SMALL if word not in CNN),
    *("--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1", "--tracking.wandb=off"),
]


def processes(count):
    strategy = ["--trainer.strategy=ddp"] if count > 1 else []
    return ["--trainer.accelerator=cpu", f"--trainer.devices={count}", *strategy]


def run(*words, cwd):
    done = velm(*words, cwd=cwd, OMP_NUM_THREADS="1")  # another number of threads changes the order of sums
    assert done.returncode == 0, done.stderr
    return done


def fit(folder, world, batch_size, encoder=VIT):
    words = [*WORDS, *encoder, f"--data.batch_size={batch_size}", "--trainer.max_epochs=1"]
    run("fit", *words, *processes(world), cwd=folder)
    (run_folder,) = (folder / "runs" / "vqa").iterdir()
    return run_folder


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """A run that two processes trained."""
    return fit(tmp_path_factory.mktemp("two"), 2, 4)


@pytest.fixture(scope="module")
def by_one(tmp_path_factory):
    """A run that one process trained with the same total batch size."""
    return fit(tmp_path_factory.mktemp("one"), 1, 8)


def record(folder):
    return json.loads((folder / "run.json").read_text())


def rows(folder, split):
    return [json.loads(line) for line in (folder / "predictions" / f"{split}.jsonl").read_text("utf-8").splitlines()]


def test_two_processes_leave_one_run(by_two):
    result = record(by_two)
    assert (result["status"], result["world_size"], result["steps"]) == ("finished", 2, 8)
    assert result["devices"] == "2 x cpu"
    assert {path.name for path in (by_two / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize("split", SAMPLES)
def test_every_sample_is_scored_once(by_two, split):
    keys = [row["key"] for row in rows(by_two, split)]
    assert len(keys) == len(set(keys)) == SAMPLES[split] == record(by_two)["scores"][split]["samples"]


def test_two_processes_learn_as_one_with_doubled_batches(by_one, by_two):
    alone, together = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (by_one, by_two))
    for name, weight in alone["state_dict"].items():
        # If a gradient is nearly 0, the step of Adam depends on its rounding.
        torch.testing.assert_close(together["state_dict"][name], weight, atol=5e-4, rtol=1e-3)
    assert record(by_two)["scores"]["val"]["loss"] == pytest.approx(record(by_one)["scores"]["val"]["loss"], rel=1e-4)


def test_figures_do_not_depend_on_the_number_of_processes(by_two):
    """``test_evaluation`` covers other numbers of processes and other tasks."""
    expected = rows(by_two, "val"), record(by_two)["scores"]["val"], record(by_two)["groups"]["val"]
    (by_two / "predictions" / "val.jsonl").unlink()
    words = ["--ckpt_path", by_two / "checkpoints" / "best.ckpt", "--data.batch_size=4"]
    run("validate", *WORDS, *VIT, *processes(3), *words, cwd=by_two.parents[2])
    assert (rows(by_two, "val"), record(by_two)["scores"]["val"], record(by_two)["groups"]["val"]) == expected


def test_running_statistics_are_shared_before_evaluation(tmp_path):
    """All ranks evaluate with the statistics of rank 0, which are those of the checkpoint."""
    folder = fit(tmp_path, 2, 4, CNN)
    with (folder / "metrics.csv").open(newline="") as file:
        losses = [row["val/loss"] for row in csv.DictReader(file) if row["val/loss"]]
    assert len(losses) == 2, "one after the epoch, one of the checkpoint at the end"
    assert losses[0] == losses[1]


def test_all_processes_start_from_the_weights_of_another_run(by_two, tmp_path):
    """At a learning rate of 0, both processes evaluate with the weights that they started from."""
    source = by_two / "checkpoints" / "best.ckpt"
    rate = ["--model.init_args.optimization=Optimization", "--model.init_args.optimization.init_args.learning_rate=0"]
    words = [*rate, "--seed_everything=5", f"--model.init_from={source}"]
    done = run(
        "fit", *WORDS, *VIT, "--data.batch_size=4", "--trainer.max_epochs=1", *words, *processes(2), cwd=tmp_path
    )
    (started,) = (tmp_path / "runs" / "vqa").iterdir()
    assert done.stdout.count("started from") == 1
    assert (record(started)["world_size"], record(started)["init_from"]["left"]) == (2, [])
    assert record(started)["scores"]["val"] == record(by_two)["scores"]["val"]
    assert rows(started, "val") == rows(by_two, "val")

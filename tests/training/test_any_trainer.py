"""A plain ``lightning.Trainer`` trains, evaluates and logs; the files of the command line come on top."""

import csv
import json
import math

import pytest
from helpers import python_runs
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger

import velm_lightning as velm

quietly = python_runs.quietly


def rows_of(path):
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def fitted(folder, **arguments):
    data = python_runs.data(batch_size=4)
    model = python_runs.model(data)
    trainer = python_runs.trainer(folder, logger=CSVLogger(folder, name="", version=""), **arguments)
    quietly(trainer.fit, model, data)
    return trainer, model, data


def test_a_plain_trainer_logs_loss_and_scores(tmp_path):
    trainer, model, data = fitted(tmp_path, log_every_n_steps=2)
    (test,) = quietly(trainer.test, model, data, verbose=False)
    (val,) = quietly(trainer.validate, model, data, verbose=False)
    assert {"test/score", "test/loss", "test/accuracy"} <= test.keys()
    assert {"val/score", "val/loss"} <= val.keys()
    logged = rows_of(tmp_path / "metrics.csv")
    assert {"train/loss", "val/score", "test/score"} <= {name for row in logged for name in row}
    steps = trainer.global_step
    assert sum("train/loss" in row for row in logged) == steps // 2


def test_an_epoch_of_few_steps_logs_its_mean_loss(tmp_path):
    fitted(tmp_path, log_every_n_steps=50, max_epochs=2)
    losses = [row["train/loss"] for row in rows_of(tmp_path / "metrics.csv") if "train/loss" in row]
    assert len(losses) == 2


def test_predictions_come_from_a_plain_trainer(tmp_path):
    trainer, model, data = fitted(tmp_path, limit_train_batches=1)
    batches = quietly(trainer.predict, model, data)
    assert [row.key for rows in batches for row in rows] == [sample.key for sample in data.samples("test")]


def test_the_recorder_adds_the_files_of_a_run(tmp_path):
    recorder = velm.RunRecorder("mine", tmp_path / "runs", pictures=2)
    trainer, model, data = fitted(tmp_path, callbacks=[recorder], log_every_n_steps=2, enable_checkpointing=True)
    (test,) = quietly(trainer.test, model, data, verbose=False)
    run = recorder.run
    assert run.folder.parent == tmp_path / "runs" / "mine"
    assert test["test/score"] == pytest.approx(run.scores["test"]["score"], rel=1e-6)
    files = ("config.yaml", "run.json", "metrics.csv", "predictions/test.jsonl", "gallery/test.png")
    assert all((run.folder / name).is_file() for name in (*files, "tokenizer/tokenizer.json"))
    assert list((run.folder / "checkpoints").glob("*.ckpt"))
    record = json.loads((run.folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert {"seed", "data", "model", "parameters", "floors", "ceiling"} <= record.keys()
    logged = rows_of(tmp_path / "metrics.csv")
    assert any("train/loss" in row for row in logged), "the user's own logger"
    full = [row for row in rows_of(run.folder / "metrics.csv") if "val/score" in row]
    score = json.loads((run.folder / "run.json").read_text())["scores"]
    assert [len(full), list(score)] == [1, ["test"]]


def test_the_recorder_explains_what_it_needs(tmp_path):
    data = python_runs.data()
    model = python_runs.model(data)
    quietly(data.connect, model)
    trainer = python_runs.trainer(tmp_path, callbacks=[velm.RunRecorder("mine", tmp_path)])
    with pytest.raises(velm.InputError, match="RunRecorder got a LateFusion and data of type NoneType"):
        quietly(trainer.fit, model, data.train_dataloader(), data.val_dataloader())


def test_an_error_in_training_marks_the_run_as_failed(tmp_path, monkeypatch):
    recorder = velm.RunRecorder("mine", tmp_path / "runs")
    data = python_runs.data()
    model = python_runs.model(data)
    monkeypatch.setattr(model.task, "loss", lambda *_: 1 / 0)
    with pytest.warns(UserWarning, match="FLOPs were not counted"), pytest.raises(ZeroDivisionError):
        quietly(python_runs.trainer(tmp_path, callbacks=[recorder]).fit, model, data)
    assert json.loads((recorder.run.folder / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("accumulate_grad_batches", 0, "must be at least 1, got 0"),
        ("accumulate_grad_batches", -2, "must be at least 1, got -2"),
        ("accumulate_grad_batches", 10**30, "must be at most 2147483647"),
        ("check_val_every_n_epoch", 0, "must be at least 1, got 0"),
        ("val_check_interval", 0, "must be at least 1, got 0"),
        ("log_every_n_steps", -1, "must be at least 0, got -1"),
        ("gradient_clip_val", -1.0, "must be at least 0, got -1.0"),
        ("gradient_clip_val", float("nan"), "must be at least 0, got nan"),
    ],
)
def test_an_argument_that_no_training_can_have_is_refused(tmp_path, name, value, told):
    """Lightning accepts them: some divide by zero, and a negative norm would reverse the gradients."""
    with pytest.raises(velm.InputError, match=f"trainer.{name} {told}"):
        fitted(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("patience", -1, "must be at least 0, got -1"), ("min_delta", math.nan, "must be a finite number, got nan")],
)
def test_an_early_end_that_no_training_can_have_is_refused(tmp_path, name, value, told):
    """Lightning accepts them: with NaN, no score is better than another."""
    with pytest.raises(velm.InputError, match=f"early_stopping.{name} {told}"):
        fitted(tmp_path, callbacks=[EarlyStopping("val/score", **{name: value})])


def test_zero_log_steps_mean_no_log(tmp_path):
    fitted(tmp_path, log_every_n_steps=0, callbacks=[velm.RunRecorder("plain", tmp_path / "runs")])
    assert "train/loss" not in (tmp_path / "metrics.csv").read_text()


@pytest.mark.parametrize("name", ["pictures", "thumbnails"])
def test_negative_numbers_of_images_are_refused(name):
    with pytest.raises(velm.InputError, match=f"{name} must be at least 0, got -1"):
        velm.RunRecorder(**{name: -1})

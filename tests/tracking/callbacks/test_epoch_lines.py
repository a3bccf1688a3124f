"""A line per epoch says loss, score, the best so far and the time; sizes of pictures are one line; noise is silent."""

import logging
import math

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from PIL import Image

from velm_lightning.io.console import span
from velm_lightning.tracking.callbacks.epoch_lines import EpochLines
from velm_lightning.tracking.callbacks.image_sizes import describe_sizes
from velm_lightning.tracking.callbacks.train_log import TrainLog
from velm_lightning.tracking.quiet import is_printed
from velm_lightning.types import ImageTransform, Sample


class Trainer:
    """What the callback reads of a trainer."""

    is_global_zero, max_epochs, current_epoch, global_step = True, 3, 0, 0
    estimated_stepping_batches, early_stopping_callbacks = 30, ()

    def __init__(self, mode="max"):
        self.checkpoint_callback = ModelCheckpoint(monitor="val/score", mode=mode)
        self.callback_metrics = {}

    def epoch(self, lines, score):
        self.global_step += 10
        if score is not None:
            self.callback_metrics["val/score"] = torch.tensor(score)
            lines.on_validation_end(self, None)
        lines.on_train_epoch_end(self, None)
        self.current_epoch += 1


@pytest.mark.parametrize(("mode", "marks"), [("max", [True, False, True]), ("min", [True, True, False])])
def test_every_epoch_is_a_line_and_the_best_is_marked(capsys, mode, marks):
    log, trainer = TrainLog(), Trainer(mode)
    log.epoch_loss = 0.5
    lines = EpochLines(log)
    lines.on_train_start(trainer, None)
    for score in (0.5, 0.25, 0.75):
        trainer.epoch(lines, score)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("epoch 1/3  step 10  loss 0.5000  val/score 0.5000 (best)")
    assert ["(best)" in line for line in told] == marks
    assert "left" in told[0]
    assert "left" not in told[2]
    assert max(map(len, told)) <= 80


def test_an_epoch_without_an_evaluation_shows_no_old_score(capsys):
    trainer, lines = Trainer(), EpochLines(TrainLog())
    lines.on_train_start(trainer, None)
    trainer.epoch(lines, 0.5)
    trainer.epoch(lines, None)
    assert ["val/score" in line for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_a_resumed_run_continues_from_its_best_score(capsys):
    trainer, lines = Trainer(), EpochLines(TrainLog())
    trainer.checkpoint_callback.best_model_score = torch.tensor(0.75)
    lines.on_train_start(trainer, None)
    trainer.epoch(lines, 0.5)
    assert "(best)" not in capsys.readouterr().out


def test_the_time_of_the_whole_run_is_estimated_once(capsys):
    trainer, lines = Trainer(), EpochLines(TrainLog(), first=0.0)
    lines.on_train_start(trainer, None)
    trainer.global_step = 10
    for _ in range(3):
        lines.on_train_batch_end(trainer, None, None, None, 0)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("about ")
    assert line.endswith(" for 30 steps")


def test_no_estimate_follows_the_line_of_an_epoch(capsys):
    trainer, lines = Trainer(), EpochLines(TrainLog(), first=0.0)
    lines.on_train_start(trainer, None)
    trainer.epoch(lines, 0.5)
    lines.on_train_batch_end(trainer, None, None, None, 0)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("waited", "told"), [(3, "stopped early: 3 evaluations brought no better val/score\n"), (2, "")]
)
def test_the_reason_of_an_early_end_is_said(capsys, waited, told):
    trainer, stop = Trainer(), EarlyStopping("val/score", patience=3)
    trainer.early_stopping_callbacks, stop.wait_count = [stop], waited
    EpochLines(TrainLog()).on_train_end(trainer, None)
    assert capsys.readouterr().out == told


@pytest.mark.parametrize(
    ("settings", "score", "told"),
    [
        ({"mode": "max", "stopping_threshold": 0.5}, 0.75, "val/score has reached the stopping threshold 0.5"),
        (
            {"mode": "max", "stopping_threshold": 0.5, "patience": 0},
            0.75,
            "val/score has reached the stopping threshold 0.5",
        ),
        ({"mode": "max", "divergence_threshold": 0.5}, 0.25, "val/score is beyond the divergence threshold 0.5"),
        ({}, math.nan, "val/score is not finite"),
    ],
)
def test_thresholds_are_reasons_of_an_early_end_too(capsys, settings, score, told):
    """A resumed run does not repeat the reason of an earlier end."""
    trainer, stop = Trainer(), EarlyStopping("val/score", **settings)
    trainer.early_stopping_callbacks = [stop]
    first, resumed = EpochLines(TrainLog()), EpochLines(TrainLog())
    first.on_train_start(trainer, None)
    _, stop.stopping_reason_message = stop._evaluate_stopping_criteria(torch.tensor(score))
    first.on_train_end(trainer, None)
    assert capsys.readouterr().out == f"stopped early: {told}\n"
    resumed.on_train_start(trainer, None)
    resumed.on_train_end(trainer, None)
    assert capsys.readouterr().out == ""


def test_a_run_that_took_all_its_steps_was_not_stopped_early(capsys):
    """Its last evaluation can be the one that uses up the patience."""
    trainer, stop = Trainer(), EarlyStopping("val/score", patience=3)
    trainer.early_stopping_callbacks, stop.wait_count = [stop], 3
    trainer.global_step = trainer.estimated_stepping_batches
    EpochLines(TrainLog()).on_train_end(trainer, None)
    assert capsys.readouterr().out == ""


def test_a_time_span_is_short():
    assert [span(seconds) for seconds in (5, 150, 5400)] == ["5 s", "2.5 min", "1.5 h"]


def test_the_sizes_of_pictures_are_said_as_stored_and_as_used(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    samples = [Sample("0", tmp_path / "a.png", "", None, ())]
    assert describe_sizes(samples, ImageTransform(224)) == "images: 640 x 480 -> 224 x 224, squashed"
    lost = "images: 640 x 480 -> 48 x 48, squashed: most of the detail is lost"
    assert describe_sizes(samples, ImageTransform(48)) == lost
    assert describe_sizes([Sample("0", tmp_path / "lost.png", "", None, ())], ImageTransform(48)) == ""
    drawn = [Sample("0", torch.zeros(3, 48, 48), "", None, ())]
    assert describe_sizes(drawn, ImageTransform(48)) == "images: 48 x 48 -> 48 x 48"


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("TPU available: False, using: 0 TPU cores", False),
        ("Restoring states from the checkpoint path at x.ckpt", False),
        ("💡 Tip: try installing [litlogger](x)", False),
        ("`Trainer(val_check_interval=1.0)` was configured so validation will run at the end of the epoch.", False),
        ("`Trainer(limit_train_batches=1)` was configured so 1 batch per epoch will be used.", True),
        ("Saving latest checkpoint...", True),
    ],
)
def test_messages_that_nobody_can_act_on_are_not_printed(message, printed):
    record = logging.LogRecord("lightning.pytorch", logging.INFO, "", 0, message, (), None)
    assert is_printed(record) is printed

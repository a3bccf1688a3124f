"""Training logs one row per logged step, with a throughput that excludes evaluation and warm-up."""

from types import SimpleNamespace

import pytest
from helpers import tiny
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from velm_lightning.data import MultimodalData
from velm_lightning.tracking.callbacks import train_log
from velm_lightning.tracking.callbacks.train_log import Progress, TrainLog
from velm_lightning.tracking.metrics_file import MetricsFile
from velm_lightning.tracking.record import RunRecord
from velm_lightning.tracking.run import Run

pytestmark = pytest.mark.filterwarnings("ignore:.*(isinstance.treespec|many workers|logging interval)")


class Time(Callback):
    """A clock that batches advance: by 10 seconds for the first of a run, 1 for others, and 100 for an evaluation."""

    def __init__(self):
        self.now, self.batches = 0.0, 0

    def perf_counter(self):
        return self.now

    def on_train_batch_start(self, *_):
        self.now += 1 if self.batches else 10
        self.batches += 1

    def on_validation_batch_start(self, *_):
        self.now += 100


def fit(folder, monkeypatch, **trainer):
    """Train with five batches of two samples per epoch; return the rows of the metrics file and the record."""
    clock, log = Time(), TrainLog()
    monkeypatch.setattr(train_log, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    run = Run.create(folder, "rows", "tiny")
    data = MultimodalData(tiny.Samples(train=tiny.many(10), val=tiny.many(2)), batch_size=2)
    metrics = MetricsFile(run.folder / "metrics.csv")
    done = Trainer(
        accelerator="cpu",
        logger=metrics,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[log, RunRecord(run, log), clock],
        **trainer,
    )
    done.fit(tiny.fusion(vocabulary=data.vocabulary), data)
    run.release()
    return log, run.record


def rows(folder):
    (path,) = folder.glob("rows/*/metrics.csv")
    lines = [line.split(",") for line in path.read_text().splitlines()]
    named = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    return [row for row in named if row["train/loss"]]


def test_a_row_counts_all_micro_batches_of_its_window(tmp_path, monkeypatch):
    fit(tmp_path, monkeypatch, max_epochs=2, accumulate_grad_batches=2, log_every_n_steps=3)
    logged = rows(tmp_path)
    assert len(logged) == 2, "three steps per epoch, the last with one micro-batch"
    # Per epoch: 5 batches, 10 samples. The first batch takes 10 seconds; the 100 of an evaluation do not count.
    assert [float(row["train/samples_per_second"]) for row in logged] == pytest.approx([10 / 14, 10 / 5])


def test_evaluation_within_an_epoch_takes_no_time(tmp_path, monkeypatch):
    fit(tmp_path, monkeypatch, max_epochs=2, val_check_interval=2, log_every_n_steps=5)
    logged = [float(row["train/samples_per_second"]) for row in rows(tmp_path)]
    assert logged[1] == pytest.approx(2, rel=0.5)


def test_the_record_excludes_the_time_before_the_first_row(tmp_path, monkeypatch):
    log, record = fit(tmp_path, monkeypatch, max_epochs=3, log_every_n_steps=2)
    assert (log.timed_samples, log.timed_seconds) == (26, 13), "15 batches, without the first two"
    assert record["samples_per_second"] == 2
    assert record["timed"] == {"samples": 26, "seconds": 13}


def test_the_record_holds_the_mean_loss_of_the_last_epoch(tmp_path, monkeypatch):
    _, record = fit(tmp_path, monkeypatch, max_epochs=2, log_every_n_steps=1)
    losses = [float(row["train/loss"]) for row in rows(tmp_path)]
    assert record["epoch_loss"] == pytest.approx(sum(losses[5:]) / 5)


def test_a_run_shorter_than_a_window_has_no_throughput(tmp_path, monkeypatch):
    _, record = fit(tmp_path, monkeypatch, max_epochs=1, log_every_n_steps=50)
    assert record["samples_per_second"] is None


@pytest.mark.parametrize(("most", "title"), [(3, "Epoch 1/3"), (-1, "Epoch 1"), (None, "Epoch 1")])
def test_the_bar_counts_epochs_as_the_lines_do(most, title):
    """From 1; a run of so many steps has no last epoch."""
    progress = Progress(TrainLog())
    progress._trainer = SimpleNamespace(max_epochs=most)
    assert progress._get_train_description(0).rstrip() == title

"""``velm predict`` writes aggregated predictions, as an evaluation does, for every task."""

import json

import pytest
import torch
from helpers import tiny
from lightning import Trainer

from velm_lightning.data import CaptionPairs, MultimodalData
from velm_lightning.tasks import Generation, Retrieval
from velm_lightning.tracking.callbacks.train_log import TrainLog
from velm_lightning.tracking.record import RunRecord
from velm_lightning.tracking.run import Run

pytestmark = pytest.mark.filterwarnings("ignore:.*(isinstance.treespec|many workers|eval mode)")


def predicted(folder, task, samples):
    torch.manual_seed(0)
    data = MultimodalData(samples, batch_size=2)
    run = Run.create(folder, "predict", "tiny")
    record = RunRecord(run, TrainLog())
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=record,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.predict(tiny.fusion(vocabulary=data.vocabulary, task=task), data, return_predictions=False)
    rows = [json.loads(line) for line in (run.folder / "predictions" / "predict.jsonl").read_text().splitlines()]
    assert [row.prediction for row in record.predicted] == [row["prediction"] for row in rows]  # which are printed
    return rows


def test_predictions_of_retrieval_hold_ranks(tmp_path):
    samples = [sample._replace(text="", references=(sample.target,)) for sample in tiny.translations()]
    pairs = CaptionPairs(tiny.Samples(train=samples, test=samples))
    rows = predicted(tmp_path, Retrieval(width=6), pairs)
    assert {row["group"] for row in rows} == {"text to image", "image to text"}
    for row in rows:
        assert row["score"] == 1 / int(row["prediction"].split()[1].rstrip(";"))


def test_samples_without_references_have_no_score(tmp_path):
    bare = [sample._replace(target=None, references=()) for sample in tiny.translations()]
    rows = predicted(tmp_path, Generation(), tiny.Samples(train=tiny.translations(), test=bare))
    assert [row["key"] for row in rows] == sorted(sample.key for sample in bare)
    assert all(row["score"] is None for row in rows)

"""A small run of ``conf/drawing.yaml``: the files that it writes, whose figures follow from the rows."""

import io
import json
import math

import numpy as np
import pytest
from helpers.command_line import CONF
from PIL import Image

from velm_lightning.inspection.verify import verify

SMALL = [
    "--data.dataset.init_args.train=24", "--data.dataset.init_args.val=4", "--data.dataset.init_args.test=6",
    "--data.batch_size=8", "--model.init_args.text_encoder.init_args.dim=16",
    "--model.init_args.task.init_args.judge.init_args.scenes=16",
    "--model.init_args.task.init_args.judge.init_args.epochs=1",
    "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--tracking.wandb=off",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(here_in, tmp_path_factory):
    place = tmp_path_factory.mktemp("drawing")
    assert here_in(place, "fit", "--config", CONF / "drawing.yaml", *SMALL) == 0
    return next((place / "runs" / "drawing").iterdir())


def test_every_figure_follows_from_the_rows(folder):
    figures = verify(folder)
    assert all(figure.agrees for figure in figures)
    assert {"score", "things", "relation", "loss"} <= {figure.name for figure in figures}


def test_the_distance_is_one_of_the_scores(folder):
    record = json.loads((folder / "run.json").read_text())
    beside, scores = record["beside"]["test"], record["scores"]["test"]
    (name,) = (name for name in beside if name.startswith("FID(scenejudge-"))
    assert beside[name] > 0
    assert 0 <= beside["judge_accuracy"] <= 1
    assert not beside.keys() & scores.keys()
    assert name.removeprefix("FID(").removesuffix(")") in record["signature"]
    assert record["inference_flops_per_sample"] > 0


def test_rows_hold_the_prompt_as_their_reference(folder):
    rows = [json.loads(line) for line in (folder / "predictions" / "test.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    for row in rows:
        assert row["references"] == [row["prompt"]]
        assert math.isfinite(row["loss"])


def test_the_gallery_shows_drawn_and_real_pictures(folder):
    sheet = Image.open(io.BytesIO((folder / "gallery" / "test.png").read_bytes()))
    row = np.asarray(sheet.convert("L"))
    assert row.std() > 5  # six pairs on a white sheet
    assert sheet.width > sheet.height

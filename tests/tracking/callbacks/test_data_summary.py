"""Baseline scores are printed before training, stored in the record and shown in the last table."""

import json
import math

import pytest
from helpers import tiny
from lightning import Trainer
from rich.console import Console

from velm_lightning.data import MultimodalData
from velm_lightning.inspection.verify import verify
from velm_lightning.tasks import Classification
from velm_lightning.tracking.callbacks.data_summary import DataSummary, summary
from velm_lightning.tracking.callbacks.train_log import TrainLog
from velm_lightning.tracking.provenance import summary_of
from velm_lightning.tracking.record import RunRecord
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.scores import print_scores

pytestmark = pytest.mark.filterwarnings("ignore:.*(isinstance.treespec|many workers|eval mode)")


def data():
    return MultimodalData(tiny.Samples(train=tiny.many(12), val=tiny.many(9, "val")), batch_size=4)


@pytest.fixture
def run(tmp_path):
    """The run of an untrained model after its evaluation."""
    made = data()
    model = tiny.fusion(vocabulary=made.vocabulary)
    model.task.head[-1].bias.data[made.vocabulary.answers.index("no")] = 100.0  # it always answers "no"
    run = Run.create(tmp_path, "floors", "tiny")
    run.update(model=summary_of(model))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [RunRecord(run, TrainLog()), DataSummary(run)]
    Trainer(accelerator="cpu", callbacks=callbacks, default_root_dir=tmp_path, **quiet).validate(
        model, made, verbose=False
    )
    return run


def test_the_record_holds_the_floors_of_its_scores(run):
    floors = json.loads((run.folder / "run.json").read_text())["floors"]["val"]
    assert floors["majority"]["answer"] == "no"
    assert floors["majority"]["score"] == pytest.approx(2 / 3)
    assert floors["prior"]["score"] == pytest.approx((2 / 3) ** 2 + (1 / 3) ** 2)
    assert (floors["majority"]["lead"], floors["majority"]["lead_error"]) == (0, 0)


def test_a_score_that_is_not_higher_gives_a_warning(run, capsys):
    print_scores(run)
    printed = capsys.readouterr().out
    assert "score · majority answer 'no'" in printed
    assert "score · prior" in printed
    assert "warning: the score on val, 0.6667, does not exceed that of the majority answer 'no', 0.6667" in printed
    run.record["floors"]["val"]["majority"] |= {"lead": 0.2, "lead_error": 0.1}
    print_scores(run)
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(("lead", "warned"), [(0.0, True), (-0.1, True), (0.2, False)])
def test_one_image_is_compared_without_a_standard_error(run, capsys, lead, warned):
    run.record["floors"]["val"]["majority"] |= {"lead": lead, "lead_error": math.nan}
    print_scores(run)
    printed = capsys.readouterr().out
    assert ("does not exceed that of the majority answer 'no', 0.6667\n" in printed) == warned
    assert "standard error" not in printed
    assert "nan," not in printed


@pytest.mark.parametrize("text", ["[/b]", "[bold]", "[link=file:///x]y", ":warning:", "\\[b]"])
def test_texts_of_the_data_are_no_markup_in_the_table(run, capsys, text):
    record = run.record
    for section in ("scores", "floors", "groups", "seen_in_training"):
        record[section] = {f"val@{text}": record[section]["val"]} if section in record else {}
    split = f"val@{text}"
    record["id"], record["signature"], record["limits"] = f"id {text}", f"signature {text}", [f"limit {text}"]
    record["scores"][split] |= {f"figure {text}": 0.5, "without_references": 1}
    record["beside"] = {split: {f"extra {text}": 0.5}}
    record["groups"][split] = {f"group {text}": 0.5}
    record["floors"][split]["majority"] |= {"answer": f"answer {text}"}
    print_scores(run, [split], Console(width=300))
    printed = capsys.readouterr().out
    for name in ("id", "signature", "limit", "figure", "extra", "group"):
        assert f"{name} {text}" in printed
    assert printed.count(repr(f"answer {text}")) == 2, "in the table and in the warning"
    assert f"samples of {split} have" in printed


def test_the_majority_is_computed_again_from_the_rows(run):
    figures = {figure.name: figure for figure in verify(run.folder)}
    assert figures["majority · score"].agrees
    floors = json.loads((run.folder / "run.json").read_text())["floors"]
    floors["val"]["majority"]["score"] = 0.5
    run.update(floors=floors)
    assert [figure.name for figure in verify(run.folder) if not figure.agrees] == ["majority · score"]


def test_a_summary_states_sizes_and_floors_of_each_split():
    assert summary(data(), Classification()) == [
        "train: 12 samples, 12 images, 2 different targets, the most frequent 66.7% of them",
        "val: 9 samples, 9 images; always answering 'no' scores 0.6667, drawing answers by their training frequency "
        "scores 0.5556 (accuracy)",
    ]

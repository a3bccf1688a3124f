"""For every task, the reported metrics follow exactly from the stored rows."""

import json
import math

import pytest
import torch
from helpers import tiny
from helpers.brightness import Brightness
from lightning import Trainer

from velm_lightning.checkpoints.checkpoint import pack
from velm_lightning.data import CaptionPairs, MultimodalData
from velm_lightning.decoding import Flow
from velm_lightning.encoders import Patches
from velm_lightning.fusion import EarlyFusion
from velm_lightning.inspection.verify import read_rows, verify
from velm_lightning.tasks import (
    Classification,
    Distillation,
    Drawing,
    Generation,
    MaskedLM,
    Mixture,
    Retrieval,
    SelfCritical,
)
from velm_lightning.tasks.scorers import VQAAccuracy
from velm_lightning.tasks.sentences import Answers, Captions, Translations
from velm_lightning.tracking.callbacks.train_log import TrainLog
from velm_lightning.tracking.provenance import summary_of
from velm_lightning.tracking.record import RunRecord
from velm_lightning.tracking.run import Run
from velm_lightning.tracking.scores import print_scores

pytestmark = pytest.mark.filterwarnings("ignore:.*(isinstance.treespec|many workers|eval mode)")


def questions():
    return [sample._replace(references=(*sample.references, "no", "red")) for sample in tiny.many(12)]


def sentences():
    words = tiny.TEXTS[3].split()
    for number in range(12):
        captions = tuple(" ".join(words[n : 3 + (number + n) % 6]) for n in range(2))
        yield tiny.Sample(
            f"s{number:02}", tiny.picture(number), tiny.TEXTS[number % 3], captions[0], captions, "ab"[number % 2]
        )


def drawings():
    return [
        sample._replace(target=None, references=(("dark", "light")[n % 2],)) for n, sample in enumerate(sentences())
    ]


def teacher(folder):
    made = tiny.fusion(vocabulary=MultimodalData(tiny.Samples(train=questions())).vocabulary)
    content = {"state_dict": made.state_dict()}
    pack(made, content)
    torch.save(content, folder / "teacher.ckpt")
    return folder / "teacher.ckpt"


TASKS = {
    "accuracy": (lambda _: Classification(), lambda: tiny.many(12)),
    "vqa": (lambda _: Classification(scorer=VQAAccuracy()), questions),
    "captions": (lambda _: Generation(scorer=Captions()), sentences),
    "translations": (lambda _: Generation(scorer=Translations()), sentences),
    "answers": (lambda _: Generation(scorer=Answers()), sentences),
    "written vqa": (lambda _: Generation(scorer=Answers(VQAAccuracy())), sentences),
    "self-critical": (lambda _: SelfCritical(), sentences),
    "distillation": (lambda folder: Distillation(Classification(), teacher(folder)), questions),
    "masked words": (lambda _: MaskedLM(), sentences),
    "retrieval": (lambda _: Retrieval(width=6), sentences),
    "folds": (lambda _: Retrieval(width=6, fold=3), sentences),
    "drawing": (lambda _: Drawing(Brightness(), tiny.SIZE, 4, flow=Flow(2)), drawings),
    "mixture": (
        lambda _: Mixture({"say": Generation(), "words": MaskedLM(), "pairs": Retrieval(width=6)}, headline="pairs"),
        sentences,
    ),
}


def evaluated(kind, folder, missing):
    """A run that evaluated an untrained model on samples of which the first ``missing`` have no references."""
    make, samples = TASKS[kind]
    samples = list(samples())
    nothing = [sample._replace(target=None, references=(None, ())[n % 2]) for n, sample in enumerate(samples[:missing])]
    splits = tiny.Samples(train=samples, val=nothing + samples[missing:])
    data = MultimodalData(CaptionPairs(splits) if kind in ("retrieval", "folds") else splits, batch_size=5)
    torch.manual_seed(0)
    parts = {"image_encoder": Patches(tiny.SIZE, 4)} if kind == "drawing" else {}
    model = tiny.fusion(EarlyFusion, vocabulary=data.vocabulary, task=make(folder), **parts)
    run = Run.create(folder, "rows", "tiny")
    run.update(model=summary_of(model))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", callbacks=RunRecord(run, TrainLog()), default_root_dir=folder, **quiet)
    trainer.validate(model, data, verbose=False)
    return run.folder


@pytest.mark.parametrize("missing", [0, 3, 12])
@pytest.mark.parametrize("kind", TASKS)
def test_reported_figures_follow_exactly_from_stored_rows(kind, missing, tmp_path):
    if missing == 12 and kind in ("retrieval", "folds"):
        pytest.skip("every caption is a sample: without captions there is none")
    folder = evaluated(kind, tmp_path, missing)
    figures = verify(folder)
    odd = [
        figure
        for figure in figures
        if figure.reported != figure.computed and not math.isnan(figure.reported + figure.computed)
    ]
    assert not odd
    assert all(math.isnan(figure.reported) == math.isnan(figure.computed) for figure in figures)
    assert {"score", "samples"} <= {figure.name for figure in figures}


@pytest.mark.parametrize("kind", ["accuracy", "vqa", "captions", "translations", "answers", "written vqa", "drawing"])
def test_samples_without_references_are_counted_and_not_scored(kind, tmp_path, capsys):
    folder = evaluated(kind, tmp_path, 3)
    rows = read_rows(folder / "predictions" / "val.jsonl")
    assert [math.isnan(row.score) for row in rows] == [True] * 3 + [False] * 9
    assert all(row.references == () for row in rows[:3])
    figures = json.loads((folder / "run.json").read_text())["scores"]["val"]
    assert (figures["samples"], figures["without_references"]) == (12, 3)
    assert not math.isnan(figures["score"])
    print_scores(Run(folder))
    assert "3 of the 12 samples of val have no references and no score" in capsys.readouterr().out


def test_a_figure_of_scored_samples_ignores_the_others(tmp_path):
    (tmp_path / "whole").mkdir()
    some = json.loads((evaluated("accuracy", tmp_path, 3) / "run.json").read_text())["scores"]["val"]
    rows = read_rows(next(tmp_path.glob("rows/*/predictions/val.jsonl")))
    task = Classification()
    assert task.compute_metrics(task.score(rows[3:]))["macro_f1"] == some["macro_f1"]

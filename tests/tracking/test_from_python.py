"""The snippet of the README: data, model, ``fit``, ``load``, ``predict``, ``compare_runs``."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from helpers import python_runs, tiny
from helpers.command_line import CONF, prepared
from PIL import Image
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

import velm_lightning as velm
from velm_lightning.cli.parsing.saved_config import config_text
from velm_lightning.compare.reading import flat
from velm_lightning.inspection.verify import verify
from velm_lightning.tracking.from_python.run_config import IN_MEMORY
from velm_lightning.tracking.from_python.run_config import config_text as python_config

pytestmark = pytest.mark.slow
fit = python_runs.quietly


def trained(folder, model, data, **arguments):
    return fit(velm.fit, model, data, runs=folder, max_epochs=1, **python_runs.SILENT | arguments)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two finished runs, on the same data."""
    folder = tmp_path_factory.mktemp("runs")
    data = python_runs.data()
    models = [python_runs.model(data, kind) for kind in (velm.TextOnly, velm.LateFusion)]
    other, run = (trained(folder, model, data, pictures=2) for model in models)
    return SimpleNamespace(folder=folder, data=data, model=models[1], run=run, other=other)


def test_a_run_has_scores_a_best_checkpoint_and_a_folder(place):
    run = place.run
    assert {"score", "accuracy", "loss", "samples"} <= run.scores["test"].keys()
    assert run.best == run.folder / "checkpoints" / "best.ckpt"
    assert run.best.is_file()
    assert run.folder.parent == place.folder / "python"
    assert f"test {run.scores['test']['score']:.4f}" in repr(run)


def test_the_folder_is_that_of_the_command_line(place):
    names = {path.relative_to(place.run.folder).as_posix() for path in place.run.folder.rglob("*") if path.is_file()}
    ends = (".jsonl", ".pictures.jsonl", ".maps.jsonl")
    splits = [f"predictions/{split}{end}" for split in ("val", "test") for end in ends]
    pictures = ["gallery/val.png", "gallery/test.png"]
    files = ["config.yaml", "run.json", "metrics.csv", "tokenizer/tokenizer.json"]
    assert names == {*files, *splits, *pictures, "checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert json.loads((place.run.folder / "run.json").read_text())["status"] == "finished"


def test_reported_figures_agree_with_the_predictions(place):
    assert all(figure.agrees for figure in verify(place.run.folder))


@pytest.mark.parametrize("name", ["run", "folder", "id", "checkpoint", "latest"])
def test_a_model_is_loaded_by_any_name_of_its_run(place, name):
    run = place.run
    names = {"run": run, "folder": run.folder, "id": run.ident, "checkpoint": run.best, "latest": "latest"}
    model = velm.load(names[name], runs=place.folder)
    assert isinstance(model, velm.LateFusion)
    image = np.zeros((8, 8, 3), np.uint8)
    assert model.predict([image], "what colour is it?") == place.model.predict([image], "what colour is it?")


def test_images_of_three_forms_are_asked_about(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = Image.new("RGB", (30, 20), "red")
    picture.save("a.png")
    images = [picture, "a.png", np.array(picture)]
    rows = velm.load("latest", runs=place.folder).predict(images, ["what colour is it?"] * 3, top_k=3)
    assert rows[0] == rows[1] == rows[2]
    assert len(rows[0]) == 3


def test_runs_are_compared(place):
    comparison = velm.compare_runs([place.run, place.other.folder])
    table = comparison.table()
    assert repr(table) == str(table)
    assert "| LateFusion |" in table
    assert "| TextOnly (control) |" in table
    by_id = velm.compare_runs([place.run.ident, place.other.ident], folder=place.folder).table()
    assert by_id == velm.compare_runs([place.folder]).table() == table


def test_one_run_is_no_list_of_runs():
    with pytest.raises(velm.InputError, match=r"compare_runs: runs='latest' is of type str: .* runs=\[…\] for one"):
        velm.compare_runs("latest")


def test_the_config_repeats_the_run_on_the_command_line(place, here_in, tmp_path):
    config, checkpoint = place.run.folder / "config.yaml", place.run.best
    assert here_in(tmp_path, "test", "--config", config, f"--ckpt_path={checkpoint}", "--tracking.wandb=off") == 0
    scores = json.loads((place.run.folder / "run.json").read_text())["scores"]
    assert list(scores) == ["val", "test"], "the run's own figures were computed again, under the same name"
    assert scores == place.run.scores


FREE = ("model.", "tracking.", "trainer.log_every", "trainer.enable_progress", "trainer.default_root", "test_after")
SMALL = [
    *("fit", "--config", CONF / "vqa.yaml", "--model=LateFusion", "--trainer.max_epochs=1"),
    *("--data.dataset.init_args.train=8", "--data.dataset.init_args.val=4", "--data.dataset.init_args.test=4"),
    *("--data.dataset.init_args.size=16", "--data.batch_size=8", "--trainer.accelerator=auto"),
]


def test_settings_are_named_as_on_the_command_line(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    parsed = prepared(monkeypatch, *SMALL, build=False)
    written = yaml.safe_load(config_text(parsed._parser("fit"), parsed.config["fit"]))
    theirs, ours = (
        {key: value for key, value in flat(config) if value is not None and not key.startswith(FREE)}
        for config in (written, yaml.safe_load((place.run.folder / "config.yaml").read_text()))
    )
    assert ours == theirs


def test_a_seed_repeats_a_training(tmp_path):
    scores = []
    for _ in range(2):
        torch.manual_seed(1)
        data = python_runs.data()
        scores.append(trained(tmp_path, python_runs.model(data), data, seed=3).scores["val"]["loss"])
    assert scores[0] == scores[1]


def test_rows_without_a_test_split_are_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"image": rng.integers(0, 256, (16, 16, 3), np.uint8), "text": "dark ?", "answers": ("yes", "no")[i % 2]}
        for i in range(12)
    ]
    data = velm.MultimodalData.from_rows({"train": rows[:8], "val": rows[8:]})
    run = trained(tmp_path, python_runs.model(data), data)
    assert list(run.scores) == ["val"]
    assert (run.folder / "config.yaml").read_text().startswith(IN_MEMORY)
    alone = velm.MultimodalData.from_rows({"train": rows}, holdout=0)
    run = trained(tmp_path, python_runs.model(alone), alone)
    assert (run.scores, run.best.name) == ({}, "last.ckpt")


def saved(folder):
    """Save a small BERT and its tokeniser as a hub folder."""
    words = PreTrainedTokenizerFast(
        tokenizer_object=tiny.vocabulary().tokenizer,
        **{f"{key}_token": f"[{key.upper()}]" for key in ("pad", "cls", "sep", "mask", "unk")},
    )
    AutoModel.from_config(AutoConfig.for_model(**tiny.TEXT_CONFIGS["bert"], vocab_size=len(words))).save_pretrained(
        folder
    )
    words.save_pretrained(folder)
    return str(folder)


def test_a_pretrained_encoder_brings_its_own_tokeniser(tmp_path):
    data = python_runs.data()
    answers = data.vocabulary.answers
    model = python_runs.model(data, text_encoder=velm.HFTextEncoder(saved(tmp_path / "bert")))
    run = trained(tmp_path, model, data)
    assert data.vocabulary is model.vocabulary
    assert data.vocabulary.answers == answers
    assert run.record["tokenizer"]["reason"] == f"that of {tmp_path / 'bert'}"
    again = velm.load(run)
    assert again.vocabulary.tokenizer.get_vocab() == tiny.vocabulary().tokenizer.get_vocab()
    assert len(again.predict([None, None], "what colour is it?")) == 2


def test_an_own_module_is_trained_and_loaded_again(tmp_path):
    data = python_runs.data()
    encoder = velm.wrap_encoder(nn.Conv2d(3, 8, 4, stride=4), dim=8, size=16)
    run = trained(tmp_path, python_runs.model(data, image_encoder=encoder), data)
    with pytest.raises(velm.InputError, match=r"wraps torch\.nn\.modules\.conv\.Conv2d, which a file cannot rebuild"):
        velm.load(run)
    model = velm.load(run, image_encoder=nn.Conv2d(3, 8, 4, stride=4))
    assert np.allclose(model.image_encoder.module.weight.detach(), encoder.module.weight.detach())


def test_the_trainer_of_another_run_is_described(tmp_path):
    data = python_runs.data()
    trainer = python_runs.trainer(tmp_path, max_epochs=None, max_steps=7, gradient_clip_val=0.5)
    config = yaml.safe_load(python_config(python_runs.model(data), data, trainer, {}))
    assert config["trainer"]["max_steps"] == 7
    assert config["trainer"]["gradient_clip_val"] == 0.5
    assert config["trainer"]["limit_val_batches"] is None
    assert config["model"]["class_path"].endswith("LateFusion")
    assert "vocabulary" not in config["model"]["init_args"]

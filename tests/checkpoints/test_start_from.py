"""Initialising from another model's checkpoint: weights that fit are copied, the others are reported."""

import json
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.command_line import CONF, SMALL
from lightning import Trainer

from velm_lightning.checkpoints import checkpoint
from velm_lightning.checkpoints.start_from import start_from
from velm_lightning.fusion import EarlyFusion, InteractiveFusion, LateFusion
from velm_lightning.tasks import Classification, MaskedLM, Mixture, Retrieval
from velm_lightning.text.vocabulary import Vocabulary, train_tokenizer
from velm_lightning.types import InputError


@pytest.fixture
def saved(tmp_path):
    def save(model):
        content = {"state_dict": model.state_dict()}
        checkpoint.pack(model, content)
        torch.save(content, tmp_path / "source.ckpt")
        return tmp_path / "source.ckpt"

    return save


def other_words(*extra, answers=("yes", "green", "red")):
    return Vocabulary(train_tokenizer([*extra, *tiny.TEXTS]), answers)


def test_an_equal_model_gets_all_weights(saved):
    source, model = tiny.fusion(LateFusion), tiny.fusion(LateFusion)
    report = start_from(model, saved(source))
    assert not report.left
    assert not report.rows
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, source.state_dict()[name]), name


def test_another_fusion_gets_the_encoders(saved):
    source, model = tiny.fusion(LateFusion), tiny.fusion(EarlyFusion)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    report = start_from(model, saved(source))
    assert set(report.copied) == set(before)
    layered = tiny.fusion(InteractiveFusion, depth=1, heads=2)
    report = start_from(layered, saved(source))
    assert {name.split(".")[0] for name in report.left} == {"text_layers", "norm"}
    assert "the checkpoint has none" in report.summary()


def test_rows_of_words_and_answers_are_matched_by_name(saved):
    source = tiny.fusion(vocabulary=tiny.vocabulary())
    words = other_words("zebras zebras zebras run")
    model = tiny.fusion(vocabulary=words)
    before = model.text_encoder.embedding.weight.detach().clone()
    report = start_from(model, saved(source))
    after = model.text_encoder.embedding.weight.detach()
    there, here = (fusion.vocabulary.tokenizer.get_vocab() for fusion in (source, model))
    assert there["Ġcircle"] != here["Ġcircle"], "or the test says nothing"
    for word, row in here.items():
        expected = source.text_encoder.embedding.weight[there[word]] if word in there else before[row]
        assert torch.equal(after[row], expected), word
    assert report.rows["text_encoder.embedding.weight"] == (len(there), len(here))
    assert report.rows["task.head.4.weight"] == (2, 3)
    assert torch.equal(model.task.head[4].weight[2], source.task.head[4].weight[1]), "red"


def test_a_subtask_of_a_mixture_is_copied(saved):
    words = tiny.vocabulary(answers=())
    task = Mixture({"words": MaskedLM(), "pairs": Retrieval(width=6)})
    source = tiny.fusion(vocabulary=words, task=task)
    model = tiny.fusion(vocabulary=words, task=Retrieval(width=6))
    assert not start_from(model, saved(source)).left
    assert torch.equal(model.task.text.weight, source.task.parts["pairs"].text.weight)
    asked = tiny.fusion(task=Classification())
    assert {name.split(".")[0] for name in start_from(asked, saved(source)).left} == {"task"}


def test_differing_shapes_are_reported(saved):
    model = tiny.fusion(image_encoder=tiny.cnn(dim=10))
    report = start_from(model, saved(tiny.fusion()))
    assert report.left["connector.map.0.weight"] == "is (8, 10) here, (8, 12) there"


def test_a_checkpoint_without_fitting_weights_is_refused(saved):
    strange = {"text_encoder": tiny.transformer(dim=12), "image_encoder": tiny.cnn(widths=(4,), dim=6)}
    path = saved(tiny.fusion(EarlyFusion, task=MaskedLM(), **strange))
    model = tiny.fusion(EarlyFusion, image_encoder=tiny.vit(), text_encoder=tiny.recurrent())
    with pytest.raises(InputError, match="none of its weights fits the model"):
        start_from(model, path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "bad.ckpt").write_bytes(b"x")
    with pytest.raises(InputError, match="cut off or not a checkpoint"):
        start_from(tiny.fusion(), tmp_path / "bad.ckpt")


def test_further_training_keeps_the_weights_of_a_reloaded_model(saved, tmp_path):
    source = saved(tiny.fusion())
    source.rename(tmp_path / "elsewhere.ckpt")
    model = tiny.fusion(init_from=tmp_path / "elsewhere.ckpt")
    start_training(model)
    assert model.init_report.path == str(tmp_path / "elsewhere.ckpt")
    with torch.no_grad():
        model.text_encoder.embedding.weight += 1
    again = checkpoint.load(saved(model), LateFusion)
    start_training(again)
    assert again.init_report is None
    assert torch.equal(again.text_encoder.embedding.weight, model.text_encoder.embedding.weight)


def start_training(model):
    """Run the hook that a trainer calls before the first step of a new training."""
    model.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", barebones=True)
    model.on_fit_start()


def test_a_rebuilt_model_needs_no_other_checkpoint(saved, tmp_path):
    model = tiny.fusion(init_from=tmp_path / "gone.ckpt")
    assert isinstance(checkpoint.load(saved(model), LateFusion), LateFusion)


def test_hidden_layers_as_wide_as_the_vocabulary_are_copied(saved):
    """Two lists of equal length hold other names: rows are words only in the embedding, answers in the last layer."""
    texts = (" ".join(a + b for a in "abc" for b in letters) for letters in ("defgh", "ghijk"))
    names = [f"answer {number}" for number in range(32)]
    answers = names, names[::-1]
    lists = [Vocabulary(train_tokenizer([text], size=16), named) for text, named in zip(texts, answers, strict=True)]
    assert [len(words.tokenizer.get_vocab()) for words in lists] == [16, 16]
    source, model = (tiny.fusion(vocabulary=words, text_encoder=tiny.transformer(dim=16)) for words in lists)
    report = start_from(model, saved(source))
    assert set(report.rows) == {"text_encoder.embedding.weight", "task.head.4.weight", "task.head.4.bias"}
    for name in report.copied:
        assert torch.equal(model.state_dict()[name], source.state_dict()[name]), name
    assert not report.left
    assert torch.equal(model.task.head[4].weight, source.task.head[4].weight.flip(0))


def test_rows_of_padded_embeddings_are_matched_by_name(saved):
    """Some pretrained models have more rows than words, so that equal shapes do not imply equal words."""

    def padded(words):
        model = tiny.fusion(vocabulary=words)
        model.text_encoder.embedding = torch.nn.Embedding(64, tiny.DIM)
        return model

    answers = tiny.ANSWERS[::-1]
    source, model = padded(tiny.vocabulary()), padded(other_words("zebras zebras zebras run", answers=answers))
    report = start_from(model, saved(source))
    there, here = (fusion.vocabulary.tokenizer.get_vocab() for fusion in (source, model))
    assert report.rows["text_encoder.embedding.weight"] == (len(there), 64)
    for word in there:
        expected = source.text_encoder.embedding.weight[there[word]]
        assert torch.equal(model.text_encoder.embedding.weight[here[word]], expected), word
    assert torch.equal(model.task.head[4].weight, source.task.head[4].weight.flip(0)), "answers, as many as before"


def test_the_rows_of_a_shared_head_follow_the_embedding(saved):
    parts = {"task": MaskedLM(), "vocabulary": tiny.vocabulary(answers=())}
    source = tiny.fusion(**parts)
    torch.nn.init.normal_(source.task.head.bias)
    model = tiny.fusion(task=MaskedLM(), vocabulary=other_words("zebras zebras zebras run", answers=()))
    report = start_from(model, saved(source))
    assert set(report.rows) == {"text_encoder.embedding.weight", "task.head.weight", "task.head.bias"}
    assert model.task.head.weight is model.text_encoder.embedding.weight
    there, here = (fusion.vocabulary.tokenizer.get_vocab() for fusion in (source, model))
    assert model.task.head.bias[here["Ġcircle"]] == source.task.head.bias[there["Ġcircle"]]
    assert model.task.head.bias[here["Ġzebras"]] == 0


def test_code_in_a_file_is_refused_and_no_class_is_imported(saved, tmp_path, monkeypatch):
    content = torch.load(saved(tiny.fusion()), weights_only=True)
    torch.save(content | {"callbacks": Payload(tmp_path / "it_ran")}, tmp_path / "bad.ckpt")
    with pytest.raises(InputError, match=r"bad\.ckpt holds more than weights and plain values"):
        start_from(tiny.fusion(), tmp_path / "bad.ckpt")
    assert not (tmp_path / "it_ran").exists()
    (tmp_path / "foreign_fusion.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    content["velm"]["model"]["class_path"] = "foreign_fusion.Mine"
    torch.save(content, tmp_path / "foreign.ckpt")
    assert not start_from(tiny.fusion(), tmp_path / "foreign.ckpt").left, "weights are copied, and no class is built"


class Payload:
    """Creates a file when it is unpickled without protection."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    torch.save({"state_dict": tiny.fusion().state_dict()}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"other\.ckpt was not written by velm_lightning"):
        start_from(tiny.fusion(), tmp_path / "other.ckpt")


@pytest.mark.slow
def test_a_pretrained_run_initialises_a_run_of_another_task(here, tmp_path):
    """Pretrains on masked words and caption pairs, then trains on questions with the same encoders."""
    small = [*(word for word in SMALL if word.startswith("--model")), "--model.init_args.depth=1"]
    quiet = ["--tracking.wandb=off", "--data.batch_size=4"]
    quiet += [
        f"--trainer.{word}"
        for word in (
            "max_epochs=1", "check_val_every_n_epoch=1", "accelerator=cpu", "enable_progress_bar=false",
            "enable_model_summary=false",
        )
    ]  # fmt: skip
    sizes = (".train=8", ".val=4", ".test=3", ".size=16")
    captions = [f"--data.dataset.init_args.dataset.init_args{size}" for size in sizes]
    assert here("fit", "--config", CONF / "pretrain.yaml", *captions, *small, *quiet) == 0
    (pretrained,) = (tmp_path / "runs" / "pretrain").iterdir()
    assert here("verify", pretrained) == 0
    source = pretrained / "checkpoints" / "best.ckpt"
    questions = [f"--data.dataset.init_args{size}" for size in sizes]
    words = ["fit", "--config", CONF / "vqa.yaml", *questions, *small, *quiet, f"--model.init_from={source}"]
    assert here(*words) == 0
    (run,) = (tmp_path / "runs" / "vqa").iterdir()
    init_from = json.loads((run / "run.json").read_text())["init_from"]
    assert {name.split(".")[0] for name in init_from["left"]} == {"task"}
    assert f"init_from: {source}" in (run / "config.yaml").read_text()

"""Starting from another model's checkpoint: what fits is taken, the rest is named and left."""

import pytest
import tiny
import torch

from velm_lightning import checkpoint
from velm_lightning.fusion import EarlyFusion, InteractiveFusion, LateFusion
from velm_lightning.tasks import Classification, MaskedLM, Mixture, Retrieval
from velm_lightning.transfer import start_from
from velm_lightning.types import InputError
from velm_lightning.vocabulary import Vocabulary, train_tokenizer


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


def test_a_model_of_the_same_form_takes_all(saved):
    source, model = tiny.fusion(LateFusion), tiny.fusion(LateFusion)
    taken = start_from(model, saved(source))
    assert not taken.left
    assert not taken.rows
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, source.state_dict()[name]), name


def test_another_fusion_takes_the_encoders(saved):
    source, model = tiny.fusion(LateFusion), tiny.fusion(EarlyFusion)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    taken = start_from(model, saved(source))
    assert set(taken.whole) == set(before)
    layered = tiny.fusion(InteractiveFusion, depth=1, heads=2)
    taken = start_from(layered, saved(source))
    assert {name.split(".")[0] for name in taken.left} == {"text_layers", "norm"}
    assert "the checkpoint has none" in taken.said()


def test_words_and_answers_find_their_rows_by_name(saved):
    source = tiny.fusion(vocabulary=tiny.vocabulary())
    words = other_words("zebras zebras zebras run")
    model = tiny.fusion(vocabulary=words)
    before = model.text_encoder.embedding.weight.detach().clone()
    taken = start_from(model, saved(source))
    after = model.text_encoder.embedding.weight.detach()
    there, here = (one.vocabulary.tokenizer.get_vocab() for one in (source, model))
    assert there["circle"] != here["circle"], "or the test says nothing"
    for word, row in here.items():
        expected = source.text_encoder.embedding.weight[there[word]] if word in there else before[row]
        assert torch.equal(after[row], expected), word
    assert taken.rows["text_encoder.embedding.weight"] == (len(there), len(here))
    assert taken.rows["task.head.4.weight"] == (2, 3)
    assert torch.equal(model.task.head[4].weight[2], source.task.head[4].weight[1]), "red"


def test_a_task_comes_out_of_a_mixture(saved):
    words = tiny.vocabulary(answers=())
    task = Mixture({"words": MaskedLM(), "pairs": Retrieval(width=6)})
    source = tiny.fusion(vocabulary=words, task=task)
    model = tiny.fusion(vocabulary=words, task=Retrieval(width=6))
    assert not start_from(model, saved(source)).left
    assert torch.equal(model.task.text.weight, source.task.parts["pairs"].text.weight)
    asked = tiny.fusion(task=Classification())
    assert {name.split(".")[0] for name in start_from(asked, saved(source)).left} == {"task"}


def test_sizes_that_differ_are_told(saved):
    model = tiny.fusion(image_encoder=tiny.cnn(dim=10))
    taken = start_from(model, saved(tiny.fusion()))
    assert taken.left["connector.map.0.weight"] == "is (8, 10) here, (8, 12) there"


def test_a_checkpoint_of_which_nothing_fits_is_refused(saved):
    strange = {"text_encoder": tiny.transformer(dim=12), "image_encoder": tiny.cnn(widths=(4,), dim=6)}
    path = saved(tiny.fusion(EarlyFusion, task=MaskedLM(), **strange))
    model = tiny.fusion(EarlyFusion, image_encoder=tiny.vit(), text_encoder=tiny.recurrent())
    with pytest.raises(InputError, match="nothing in it fits"):
        start_from(model, path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "bad.ckpt").write_bytes(b"x")
    with pytest.raises(InputError, match="cut off or not a checkpoint"):
        start_from(tiny.fusion(), tmp_path / "bad.ckpt")


def test_a_rebuilt_model_asks_for_no_other_checkpoint(saved, tmp_path):
    model = tiny.fusion(init_from=tmp_path / "gone.ckpt")
    assert isinstance(checkpoint.load(saved(model), LateFusion), LateFusion)

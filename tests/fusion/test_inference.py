"""Predictions and features for images and texts as a person holds them."""

import numpy as np
import pytest
import torch
from helpers import tiny
from PIL import Image

from velm_lightning.fusion import EarlyFusion, ImageOnly, InteractiveFusion, LateFusion, TextOnly
from velm_lightning.tasks import Generation, Retrieval
from velm_lightning.types import InputError

FUSIONS = [EarlyFusion, InteractiveFusion, LateFusion, TextOnly, ImageOnly]


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)


def test_every_form_of_one_image_gives_the_same_answer(tmp_path):
    array = noise()
    Image.fromarray(array).save(tmp_path / "a.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    path = tmp_path / "a.png"
    forms = [array, tensor, Image.fromarray(array), path, str(path), path.read_bytes()]
    answers = tiny.fusion().predict(forms, ["what colour ?"] * len(forms), top_k=3, batch_size=1)
    assert all(answer == answers[0] for answer in answers)
    assert [len(row) for row in answers] == [3] * len(forms)
    assert sum(answer.probability for answer in answers[0]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", FUSIONS)
@pytest.mark.parametrize("task", ["classification", "generation"])
def test_without_an_image_no_content_of_one_is_seen(kind, task):
    parts = {} if task == "classification" else {"task": Generation()}
    model = tiny.fusion(kind, **parts)
    (alone,), mixed = (model.predict(images, "what colour ?") for images in ([None], [noise(), None, noise(1)]))
    assert mixed[1][0].text == alone[0].text
    assert mixed[1][0].probability == pytest.approx(alone[0].probability, rel=1e-3)
    assert np.isfinite(alone[0].probability)


def test_an_answer_depends_on_its_image_and_not_on_its_batch():
    model = tiny.fusion(EarlyFusion)
    images, texts = [noise(i) for i in range(5)], ["what colour ?", "is there a star ?"] * 2 + [""]
    whole = model.predict(images, texts, top_k=3)
    parts = model.predict(images, texts, top_k=3, batch_size=2)
    for one, other in zip(whole, parts, strict=True):
        assert [answer.text for answer in one] == [answer.text for answer in other]
        assert [answer.probability for answer in one] == pytest.approx([answer.probability for answer in other])
    assert len({row[0].probability for row in whole}) == 5


def test_the_mode_of_the_model_is_kept():
    model = tiny.fusion().train()
    first, again = (model.predict([noise()], "what colour ?") for _ in range(2))
    assert first == again, "dropout is off"
    assert model.training
    assert model.connector._forward_hooks == {}


def test_features_of_other_tasks_are_pooled_states():
    model = tiny.fusion()
    assert model.image_features([noise(i) for i in range(3)], batch_size=2).shape == (3, tiny.DIM)
    assert model.text_features(["a red circle", "two"], batch_size=1).shape == (2, tiny.DIM)


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion])
def test_features_of_retrieval_are_the_vectors_of_its_towers(kind):
    model = tiny.fusion(kind, task=Retrieval(width=6))
    images, texts = model.image_features([noise(0), noise(1)]), model.text_features(["a red circle", "a blue star"])
    assert images.shape == texts.shape == (2, 6)
    assert torch.linalg.vector_norm(torch.cat([images, texts]), dim=1).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.predict([noise()], ["a", "b"]), "predict got 1 images and 2 texts: give one text each"),
        (lambda model: model.predict([noise()], "a", top_k=0), "top_k must be at least 1, got 0"),
        (lambda model: model.predict([3], "a"), "an image is of type int: give a path"),
        (lambda model: model.image_features([None]), "None is an image without features: leave it out"),
        (lambda model: model.text_features("a"), r"text_features takes a list of texts: write \[text\] for one"),
        (lambda model: model.text_features([]), "there is nothing to encode"),
    ],
)
def test_a_wrong_call_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call(tiny.fusion())


def test_a_control_has_no_features_of_what_it_ignores():
    with pytest.raises(InputError, match="a TextOnly model uses no image"):
        tiny.fusion(TextOnly).image_features([noise()])
    with pytest.raises(InputError, match="a ImageOnly model uses no text"):
        tiny.fusion(ImageOnly).text_features(["a"])


def test_retrieval_cannot_match_a_missing_image():
    with pytest.raises(InputError, match="the model matches images with texts, and None is no image"):
        tiny.fusion(task=Retrieval(width=4)).predict([None], "a red circle")

"""Predictions and features for images and texts as a person holds them."""

import numpy as np
import pytest
import torch
from helpers import tiny
from PIL import Image

import velm_lightning as velm
from velm_lightning.fusion import EarlyFusion, ImageOnly, InteractiveFusion, InterleavedFusion, LateFusion, TextOnly
from velm_lightning.fusion.inference import without_images
from velm_lightning.inspection.explain import explain
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
    (black,) = model.predict([np.zeros((16, 16, 3), np.uint8)], "what colour ?")
    same = black[0].probability == pytest.approx(alone[0].probability, rel=1e-6)
    if task == "classification":  # a short sentence of an untrained model may have the same probability
        assert same == ("image" not in kind.modalities), "no image is not a black one"


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, InterleavedFusion, ImageOnly])
def test_maps_without_an_image_are_finite(kind, batch):
    model = tiny.fusion(kind, **({} if issubclass(kind, EarlyFusion) else {"heads": 2}))
    with without_images(model, torch.tensor([True, False, True])):
        maps = explain(model, batch, ["yes"] * batch.size)
    assert maps.attention.isfinite().all()
    assert maps.evidence.isfinite().all()


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
        (
            lambda model: model.predict(Image.new("RGB", (4, 4)), "a"),
            r"predict takes a list of images: write \[image\]",
        ),
        (lambda model: model.predict("a.png", "a"), r"predict takes a list of images: write \[image\]"),
        (lambda model: model.predict(None, "a"), "predict takes a list of images"),
        (
            lambda model: model.predict((image for image in [None]), "a"),
            r"and list\(…\) for what can be read only once",
        ),
        (lambda model: model.predict([None], None), "predict takes a list of texts"),
        (lambda model: model.predict([None], [3]), "a text is of type int: give a str, or for a conversation a list"),
        (lambda model: model.predict([None], [b"a"]), "a text is of type bytes: give a str"),
        (lambda model: model.predict([None], [["a"]]), "a turn of a conversation is of type str: give velm.Turn"),
        (lambda model: model.predict([None], "\ud800"), "holds half of a surrogate pair"),
        (lambda model: model.predict([None], "a", top_k="3"), "top_k is of type str: give a whole number"),
        (lambda model: model.predict([None], "a", batch_size="3"), "batch_size is of type str: give a whole number"),
        (lambda model: model.image_features("a.png"), "image_features takes a list of images"),
    ],
)
def test_a_wrong_call_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call(tiny.fusion())


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"image_encoder": tiny.SmallCNN}, r"image_encoder is the class SmallCNN: write SmallCNN\(…\)"),
        (
            {"image_encoder": torch.nn.Conv2d(3, 4, 3)},
            r"image_encoder is of type Conv2d: .* velm.wrap_encoder\(module, …\)",
        ),
        ({"text_encoder": None}, "text_encoder is of type NoneType: give a TextEncoder"),
        ({"task": "Classification"}, "task is of type str: give a task"),
        ({"vocabulary": []}, "vocabulary is of type list: give that of the data, data.vocabulary"),
    ],
)
def test_a_part_of_another_type_is_one_sentence(part, message):
    with pytest.raises(InputError, match=message):
        tiny.fusion(**part)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: velm.fit(None, None),
            "model is of type NoneType: give a fusion, .* takes a model, then its data",
        ),
        (lambda: velm.fit(tiny.fusion(), [{}]), "data is of type list: give velm.MultimodalData"),
        (lambda: velm.load(3), "name is of type int: give a run, its folder or id, a checkpoint, or 'latest'"),
        (lambda: velm.load(["latest"]), "name is of type list"),
        (lambda: velm.compare_runs(None), "runs=None is of type NoneType: give a list of runs"),
        (lambda: velm.compare_runs([1]), "a run is of type int: give a run, or its folder or id"),
        (lambda: velm.wrap_encoder(3, dim=4, size=16), "module is of type int: give a torch.nn.Module"),
        (lambda: velm.wrap_encoder(torch.nn.Conv2d, dim=4, size=16), "module is the class Conv2d"),
    ],
)
def test_a_wrong_argument_of_a_public_name_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_control_has_no_features_of_what_it_ignores():
    with pytest.raises(InputError, match="a TextOnly model uses no image"):
        tiny.fusion(TextOnly).image_features([noise()])
    with pytest.raises(InputError, match="a ImageOnly model uses no text"):
        tiny.fusion(ImageOnly).text_features(["a"])


def test_retrieval_cannot_match_a_missing_image():
    with pytest.raises(InputError, match="the model matches images with texts, and None is no image"):
        tiny.fusion(task=Retrieval(width=4)).predict([None], "a red circle")

"""The judge of scenes describes real images correctly and compares descriptions with captions."""

import math

import pytest
import torch

from velm_lightning.data import ShapeDrawings
from velm_lightning.tasks.scene_judge import SceneJudge
from velm_lightning.types import InputError

SMALL = {"scenes": 1200, "epochs": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("judge")


@pytest.fixture(scope="module")
def judge(folder):
    made = SceneJudge(cache_dir=folder, **SMALL)
    made.describe(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))  # trains it
    return made


def test_real_images_are_described_correctly(judge):
    data = ShapeDrawings(1, 0, 60, size=32)
    described = judge.describe(data.images("test"))
    comparisons = [
        judge.compare(description, s.text)
        for description, s in zip(described.descriptions, data.split("test"), strict=True)
    ]
    assert sum(comparison["score"] for comparison in comparisons) >= 57
    assert (
        sum(comparison["relation"] == 1 for comparison in comparisons)
        >= sum(not math.isnan(comparison["relation"]) for comparison in comparisons) - 3
    )
    assert ((described.confidence > 0) & (described.confidence <= 1)).all()
    assert described.features.shape[0] == 60


def test_descriptions_differ_between_images(judge):
    data = ShapeDrawings(1, 0, 60, size=32)
    descriptions = judge.describe(data.images("test")).descriptions
    others = [sample.text for sample in data.split("test")][1:]
    assert (
        sum(judge.compare(description, text)["score"] for description, text in zip(descriptions, others, strict=False))
        < 6
    )


def test_its_accuracy_is_measured_on_held_out_images(judge):
    assert 0.9 < judge.accuracy <= 1


def test_it_is_trained_once_and_then_loaded(judge, folder, monkeypatch):
    pictures = ShapeDrawings(1, 0, 4, size=32).images("test")
    monkeypatch.setattr(SceneJudge, "_train", lambda *_: pytest.fail("the weights were saved already"))
    again = SceneJudge(cache_dir=folder, **SMALL)
    assert again.name() == judge.name() != SceneJudge(seed=1, cache_dir=folder, **SMALL).name()
    assert torch.equal(again.describe(pictures).features, judge.describe(pictures).features)
    assert again.accuracy == judge.accuracy


def test_describing_keeps_the_global_random_state(tmp_path):
    before = torch.get_rng_state()
    SceneJudge(scenes=20, epochs=1, cache_dir=tmp_path).describe(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert torch.equal(torch.get_rng_state(), before)


ASKED = "a red circle above a blue star"


@pytest.mark.parametrize(
    ("description", "score", "things", "relation"),
    [
        ("red circle in the top left, blue star in the centre", 1, 1, 1),
        ("blue star in the top left, red circle in the centre", 1, 1, 0),
        ("red circle in the top left, blue star in the top right", 1, 1, 0),
        ("red circle in the top left", 0, 0.5, 0),
        ("red star in the top left, blue circle in the centre", 0, 0, 0),
        ("red circle in the top left, red circle in the top right, blue star in the centre", 0, 1, 0),
        ("nothing", 0, 0, 0),
    ],
)
def test_compare_checks_things_and_their_relation(description, score, things, relation):
    assert SceneJudge().compare(description, ASKED) == {"score": score, "things": things, "relation": relation}


def test_a_single_thing_has_no_relation():
    comparison = SceneJudge().compare("green square in the bottom middle", "a green square")
    assert (comparison["score"], comparison["things"]) == (1, 1)
    assert math.isnan(comparison["relation"])


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the judge cannot be saved .* set judge\.cache"):
        SceneJudge(cache_dir=tmp_path / "file").describe(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize("name", ["size", "scenes", "epochs"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(InputError, match=rf"judge\.{name} must be at least 1, got 0"):
        SceneJudge(**{name: 0})

"""The judge of drawn scenes sees real ones rightly, and compares what it sees with what was asked."""

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
    made = SceneJudge(cache=folder, **SMALL)
    made.look(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))  # trains it
    return made


def test_it_sees_what_real_pictures_of_captions_show(judge):
    data = ShapeDrawings(1, 0, 60, size=32)
    sight = judge.look(data.images("test"))
    right = [judge.right(said, s.text) for said, s in zip(sight.descriptions, data.split("test"), strict=True)]
    assert sum(one["score"] for one in right) >= 57
    assert sum(one["relation"] == 1 for one in right) >= sum(not math.isnan(one["relation"]) for one in right) - 3
    assert ((sight.confidence > 0) & (sight.confidence <= 1)).all()
    assert sight.features.shape[0] == 60


def test_descriptions_differ_between_images(judge):
    data = ShapeDrawings(1, 0, 60, size=32)
    said = judge.look(data.images("test")).descriptions
    others = [sample.text for sample in data.split("test")][1:]
    assert sum(judge.right(one, text)["score"] for one, text in zip(said, others, strict=False)) < 6


def test_its_accuracy_is_measured_on_held_out_images(judge):
    assert 0.9 < judge.accuracy <= 1


def test_it_is_trained_once_and_then_loaded(judge, folder, monkeypatch):
    pictures = ShapeDrawings(1, 0, 4, size=32).images("test")
    monkeypatch.setattr(SceneJudge, "_train", lambda *_: pytest.fail("it had learned already"))
    again = SceneJudge(cache=folder, **SMALL)
    assert again.name() == judge.name() != SceneJudge(seed=1, cache=folder, **SMALL).name()
    assert torch.equal(again.look(pictures).features, judge.look(pictures).features)
    assert again.accuracy == judge.accuracy


def test_looking_keeps_the_global_random_state(tmp_path):
    before = torch.get_rng_state()
    SceneJudge(scenes=20, epochs=1, cache=tmp_path).look(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert torch.equal(torch.get_rng_state(), before)


ASKED = "a red circle above a blue star"


@pytest.mark.parametrize(
    ("said", "score", "things", "relation"),
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
def test_right_compares_things_and_their_relation(said, score, things, relation):
    assert SceneJudge().right(said, ASKED) == {"score": score, "things": things, "relation": relation}


def test_a_single_thing_has_no_relation():
    found = SceneJudge().right("green square in the bottom middle", "a green square")
    assert (found["score"], found["things"]) == (1, 1)
    assert math.isnan(found["relation"])


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the judge cannot be kept there .* set judge\.cache"):
        SceneJudge(cache=tmp_path / "file").look(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_numbers_below_one_are_refused():
    with pytest.raises(InputError, match=r"judge\.scenes=0"):
        SceneJudge(scenes=0)

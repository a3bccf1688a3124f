"""Generated conversations: true replies, with each image where the conversation turns to its scene."""

from collections import Counter

import pytest

from velm_lightning.data import ShapeConversations, ShapeDialogues


@pytest.fixture(scope="module")
def data():
    return ShapeConversations(train=60, val=40, test=10, size=16)


def texts(sample):
    return [part for turn in sample.turns for part in turn.parts if part is not None]


def exchanges(dataset, split):
    """The pairs of exchanges that single dialogues have about each image."""
    pairs = {}
    for sample in dataset.split(split):
        question, sep, rest = sample.text.partition("? ")
        turns = (f"{question}?", rest.partition(". ")[0], rest.partition(". ")[2], sample.target) if sep else ()
        pairs.setdefault(sample.image.sum().item(), set()).add(turns)
    return pairs


def test_every_second_one_turns_to_another_image(data):
    kinds = Counter((len(sample.image), len(sample.turns)) for sample in data.split("train"))
    assert kinds.keys() == {(1, 4), (2, 8)}
    assert kinds[1, 4] >= kinds[2, 8] > 0.5 * kinds[1, 4]  # some scenes allow one conversation only


def test_every_reply_is_right(data):
    dialogues = ShapeDialogues(train=60, val=40, test=10, dialogues_per_scene=100, size=16)
    known = exchanges(dialogues, "train")
    for sample in data.split("train"):
        for place, image in enumerate(sample.image):
            assert tuple(texts(sample)[4 * place : 4 * place + 4]) in known[image.sum().item()]


def test_images_stand_before_the_first_question_about_them(data):
    for sample in data.split("train"):
        marks = [place for place, turn in enumerate(sample.turns) if None in turn.parts]
        assert marks == [0, 4][: len(sample.image)]


def test_evaluation_has_a_group_per_reply_and_image(data):
    groups = Counter(sample.group for sample in data.split("val"))
    assert groups.keys() == {name + more for name in ("first", "it", "them") for more in ("", ", image 2")}
    assert all(len(sample.references) == 1 for sample in data.split("val"))
    assert len({sample.key for sample in data.split("val")}) == groups.total()

"""Dialogues of two turns: right replies that the picture and the last turn alone do not determine."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from test_shape_scenes import fitting, scene_of

from velm_lightning.data import ShapeDialogues
from velm_lightning.data.shapes.dialogues import talk
from velm_lightning.data.shapes.scene import draw
from velm_lightning.types import InputError

SPLITS = ("train", "val", "test")
NUMBERS = ("none", "one", "two", "three", "four")


@pytest.fixture(scope="module")
def data():
    return ShapeDialogues(train=300, val=100, test=50, size=16)


def reply(scene, text):
    """Reply by parsing the words: shares nothing with the code that talked."""
    if m := re.fullmatch(r"is there a (.+)\? yes\. (?:what (colour|shape) is it|(where) is it)\?", text):
        (thing,) = fitting(scene, m[1])
        value = thing.place if m[3] else getattr(thing, m[2])
        return f"it is a {value}." if m[2] == "shape" else f"it is {value}."
    m = re.fullmatch(r"how many (.+) are there\? (\w+)\. how many of them are (\w+)\?", text)
    them = fitting(scene, m[1])
    assert len(them) == NUMBERS.index(m[2])
    return f"{NUMBERS[len([one for one in fitting(scene, m[3]) if one in them])]} of them."


@pytest.mark.parametrize("name", SPLITS)
def test_every_reply_is_right(data, name):
    for sample in data.split(name):
        assert sample.target == reply(scene_of(data, sample), sample.text), sample
        assert sample.references == (sample.target,)


def test_both_ways_of_referring_back_occur(data):
    groups = Counter(sample.group for sample in data.split("train"))
    assert set(groups) == {"it", "them"}
    assert min(groups.values()) > 100
    assert len({s.key for name in SPLITS for s in data.split(name)}) == sum(len(data.split(name)) for name in SPLITS)


def test_the_picture_and_the_last_turn_alone_do_not_determine_the_reply():
    """Even who knows the scene, and every dialogue that can be held about it, must guess."""
    hits, total = 0, 0
    for seed in range(300):
        scene = draw(np.random.default_rng(seed), "test")
        replies = defaultdict(Counter)
        for exchange in talk(scene, np.random.default_rng(seed), 1000):
            replies[exchange.question][exchange.reply] += 1
        for counted in replies.values():
            hits, total = hits + max(counted.values()), total + counted.total()
            assert len(counted) > 1, (scene, replies)
    assert total > 2000
    assert hits / total < 0.6


def test_the_words_alone_do_not_determine_the_reply(data):
    seen = defaultdict(Counter)
    for sample in data.split("train"):
        seen[sample.text][sample.target] += 1
    samples = data.split("val")
    hits = [sample.text in seen and seen[sample.text].most_common(1)[0][0] == sample.target for sample in samples]
    assert sum(hits) / len(hits) < 0.45


def test_same_seed_same_dialogues_and_bad_numbers_are_named(data):
    again = ShapeDialogues(train=10, val=1, test=1, size=16)
    assert [s.text for s in again.split("train")] == [s.text for s in data.split("train")[: len(again.split("train"))]]
    with pytest.raises(InputError, match="dialogues_per_scene: 0"):
        ShapeDialogues(dialogues_per_scene=0)

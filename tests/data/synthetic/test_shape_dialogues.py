"""Dialogues of two turns: correct replies that image and last turn do not determine without the first turn."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from helpers.scenes import fitting, scene_of

from velm_lightning.data import ShapeDialogues
from velm_lightning.data.synthetic.shapes.dialogues import exchanges_about
from velm_lightning.data.synthetic.shapes.scene import draw
from velm_lightning.types import InputError

SPLITS = ("train", "val", "test")
NUMBERS = ("none", "one", "two", "three", "four")


@pytest.fixture(scope="module")
def data():
    return ShapeDialogues(train=300, val=100, test=50, size=16)


def answer_about(asked, thing):
    """The reply about a thing to a question that begins with "what shape", "what colour" or "where"."""
    if asked == "where":
        return thing.place
    return f"a {thing.shape}" if asked == "what shape" else thing.colour


def reply(scene, text):
    """Reply by parsing the text, without code of the dataset."""
    if m := re.fullmatch(r"how many ([\w ]+) are there\?", text):
        return NUMBERS[len(fitting(scene, m[1]))]
    if m := re.fullmatch(r"(what \w+|where) is the ([\w ]+)\?", text):
        (thing,) = fitting(scene, m[2])
        return answer_about(m[1], thing)
    first, replied, question = re.fullmatch(r"([^?]+\?) ([^.]+)\. (.+)", text).groups()
    assert replied == reply(scene, first)
    if m := re.fullmatch(r"(what \w+|where) is it\?", question):
        (thing,) = fitting(scene, re.search(r" is the (.+)\?", first)[1])
        return answer_about(m[1], thing)
    them = fitting(scene, re.search(r"how many ([\w ]+) are", first)[1])
    of_a_kind = fitting(scene, re.fullmatch(r"how many of them are (\w+)\?", question)[1])
    return NUMBERS[len([thing for thing in of_a_kind if thing in them])]


@pytest.mark.parametrize("name", SPLITS)
def test_every_reply_is_right(data, name):
    for sample in data.split(name):
        assert sample.target == reply(scene_of(data, sample), sample.text), sample
        assert sample.references == (sample.target,)


def test_first_turns_and_both_ways_of_referring_back_occur(data):
    groups = Counter(sample.group for sample in data.split("train"))
    assert set(groups) == {"first", "it", "them"}
    assert min(groups.values()) > 100
    assert len({s.key for name in SPLITS for s in data.split(name)}) == sum(len(data.split(name)) for name in SPLITS)


def test_image_and_last_turn_do_not_determine_the_reply():
    """The reply cannot be derived even from the scene and all possible dialogues about it."""
    hits, total = 0, 0
    for seed in range(300):
        scene = draw(np.random.default_rng(seed), "test")
        replies = defaultdict(Counter)
        for exchange in exchanges_about(scene, np.random.default_rng(seed), 1000):
            replies[exchange.second.question][exchange.second.reply] += 1
        for counted in replies.values():
            hits, total = hits + max(counted.values()), total + counted.total()
            assert len(counted) > 1, (scene, replies)
    assert total > 2000
    assert hits / total < 0.6


def test_the_words_do_not_determine_the_reply(data):
    replies = defaultdict(Counter)
    for sample in data.split("train"):
        replies[sample.text][sample.target] += 1
    samples = data.split("val")
    hits = [sample.text in replies and replies[sample.text].most_common(1)[0][0] == sample.target for sample in samples]
    assert sum(hits) / len(hits) < 0.45


def test_same_seed_same_dialogues_and_bad_numbers_are_named(data):
    again = ShapeDialogues(train=10, val=1, test=1, size=16)
    assert [s.text for s in again.split("train")] == [s.text for s in data.split("train")[: len(again.split("train"))]]
    with pytest.raises(InputError, match="dialogues_per_scene must be at least 1, got 0"):
        ShapeDialogues(dialogues_per_scene=0)

"""Captions for image generation, and images that match them."""

import re

import pytest
import torch

from velm_lightning.data import ShapeDrawings
from velm_lightning.data.synthetic.shapes.scene import DIRECTIONS

CAPTION = re.compile(r"a \w+ \w+(?: (left of|right of|above|below) a \w+ \w+)?")


@pytest.fixture(scope="module")
def drawings():
    return ShapeDrawings(train=300, val=100, test=100, size=32)


@pytest.fixture(scope="module")
def captions(drawings):
    return {name: [sample.text for sample in drawings.split(name)] for name in ("train", "val", "test")}


def test_a_caption_says_what_is_in_the_image_and_how_it_lies(drawings):
    for index, sample in enumerate(drawings.split("train")):
        things = drawings.scene("train", index).things
        direction = CAPTION.fullmatch(sample.text)[1]
        assert sample.references == (sample.text,)
        assert sample.target is None
        assert [f"{thing.colour} {thing.shape}" for thing in things] == re.findall(r"a (\w+ \w+)", sample.text)
        assert sample.group == (direction or "one thing")
        assert direction is None or DIRECTIONS[direction](*things)


def test_two_things_differ_and_lie_in_cells_of_their_own(drawings):
    pairs = [things for i in range(300) if len(things := drawings.scene("train", i).things) == 2]
    assert len(pairs) > 150
    assert all(a[1:3] != b[1:3] and (a.row, a.column) != (b.row, b.column) for a, b in pairs)


def test_no_caption_of_two_things_is_in_two_splits(captions):
    two = {name: {text for text in texts if CAPTION.fullmatch(text)[1]} for name, texts in captions.items()}
    assert all(len(texts) > 40 for texts in two.values())
    assert not two["train"] & two["val"] | two["train"] & two["test"] | two["val"] & two["test"]


def test_one_thing_and_all_directions_have_their_frequencies(drawings):
    groups = [sample.group for sample in drawings.split("train")]
    assert groups.count("one thing") / 300 == pytest.approx(1 / 3, abs=0.07)
    for direction in DIRECTIONS:
        assert groups.count(direction) / 300 == pytest.approx(1 / 6, abs=0.06)


def test_the_seed_determines_the_images(drawings):
    again, other = ShapeDrawings(300, 100, 100, size=32), ShapeDrawings(300, 100, 100, size=32, seed=1)
    assert torch.equal(again.images("val"), drawings.images("val"))
    assert again.split("val")[5].text == drawings.split("val")[5].text
    assert not torch.equal(other.images("val"), drawings.images("val"))

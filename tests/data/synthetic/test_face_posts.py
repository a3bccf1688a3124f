"""Generated posts: the sentiment depends on both face and words, and the classes are skewed."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from velm_lightning.data import FacePosts
from velm_lightning.data.synthetic.face_posts import LABELS, draw_face
from velm_lightning.types import InputError

TURNED = {"positive": "negative", "negative": "positive", "neutral": "neutral"}
MOODS = {
    "positive": {"wonderful", "great", "lovely", "a dream", "perfect"},
    "negative": {"awful", "bad", "boring", "a mess", "far too long"},
}


@pytest.fixture(scope="module")
def even():
    """Equally many posts of each class, so that the skew does not hide the information in words and faces."""
    return FacePosts(train=1500, val=300, test=600, shares=(0.34, 0.33, 0.33), size=24)


def mood(text):
    """The sentiment of the words; "not" inverts it."""
    predicate = text.partition(" was ")[2]
    plain = next((name for name, words in MOODS.items() if predicate.removeprefix("not ") in words), "neutral")
    return TURNED[plain] if predicate.startswith("not ") else plain


def test_words_decide_if_the_face_is_neutral_or_agrees(even):
    groups = Counter()
    for sample in even.split("train"):
        label = sample.references[0]
        assert sample.target == {label: 1.0}
        assert (mood(sample.text) == label) == (sample.group != "irony"), sample
        groups[sample.group] += 1
    assert set(groups) == {"words", "both", "irony"}
    assert min(groups.values()) > 150


def test_the_words_do_not_determine_the_label(even):
    labels = defaultdict(Counter)
    for sample in even.split("train"):
        labels[sample.text][sample.references[0]] += 1
    samples = even.split("test")
    hits = [labels[s.text].most_common(1)[0][0] == s.references[0] if s.text in labels else False for s in samples]
    assert sum(hits) / len(hits) < 0.8


def test_a_neutral_face_does_not_determine_the_label(even):
    labels = Counter(s.references[0] for s in even.split("train") if s.group == "words")
    assert max(labels.values()) / labels.total() < 0.6


def bend(picture):
    """The height of the corners of the mouth above its middle in pixels, from the dark pixels of the lower half."""
    dark = (picture.numpy().mean(0) < 80).nonzero()
    rows, columns = (axis[dark[0] > picture.shape[1] * 0.5] for axis in dark)
    middle = np.abs(columns - np.median(columns)) <= 2
    ends = (columns <= columns.min() + 2) | (columns >= columns.max() - 2)
    return rows[middle].mean() - rows[ends].mean()


@pytest.mark.parametrize("way", [1, -1])
def test_a_bent_mouth_is_seen(way):
    bends = [way * bend(draw_face(way * 0.8, np.random.default_rng(n), 64)) for n in range(20)]
    assert np.mean(np.array(bends) > 0.5) > 0.9


def test_classes_are_as_skewed_as_asked_for():
    data = FacePosts(train=3000, val=0, test=0, size=16)
    shares = Counter(sample.references[0] for sample in data.split("train"))
    assert [shares[label] / 3000 for label in LABELS] == pytest.approx([0.85, 0.1, 0.05], abs=0.02)


def test_same_seed_same_posts_and_the_splits_differ(even):
    again = FacePosts(train=10, val=10, shares=(0.34, 0.33, 0.33), size=24)
    for name in ("train", "val"):
        for before, after in zip(even.split(name), again.split(name), strict=False):
            assert before._replace(image=0) == after._replace(image=0)
            assert torch.equal(before.image, after.image)
    pictures = [{sample.image.numpy().tobytes() for sample in even.split(name)} for name in ("train", "val", "test")]
    assert len(set.union(*pictures)) == 2400


@pytest.mark.parametrize(
    "given",
    [
        *({"shares": shares} for shares in [(0.5, 0.5), (0.5, 0.6, 0.1), (0.5, 0.5, math.nan)]),
        {"size": 8},
        {"train": -1},
    ],
)
def test_numbers_that_cannot_be_are_refused(given):
    with pytest.raises(InputError, match=next(iter(given))):
        FacePosts(**given)

"""Generated scenes: correct answers, questions without clues, disjoint splits, and images that show the scene."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from helpers.scenes import fitting, plain, scene_of

from velm_lightning.data.synthetic.shape_scenes import ShapeCaptions, ShapeScenes, ShapeStatements, ShapeTranslations
from velm_lightning.data.synthetic.shapes.german import german
from velm_lightning.data.synthetic.shapes.render import RGB, render
from velm_lightning.data.synthetic.shapes.scene import COLOURS, JITTER, SHAPES, Scene, Thing, Wording
from velm_lightning.types import Dataset, InputError

SPLITS = ("train", "val", "test")
NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


@pytest.fixture(scope="module")
def data():
    return ShapeScenes(train=300, val=150, test=100)


def lies(a, direction, b):
    """Places that differ by half a cell of the 3 x 3 grid or more are different."""
    dx, dy = b.x - a.x, b.y - a.y
    return {"left of": dx, "right of": -dx, "above": dy, "below": -dy}[direction] > 1 / 6


def answer(scene, question):
    """Answer by parsing the question, without code of the dataset."""
    where = "(left of|right of|above|below)"
    if m := re.fullmatch(r"is there a (.+)\?", question):
        return "yes" if fitting(scene, m[1]) else "no"
    if m := re.fullmatch(r"how many (.+) are there\?", question):
        return str(len(fitting(scene, m[1])))
    if m := re.fullmatch(r"are there more (.+) than (.+)\?", question):
        return "yes" if len(fitting(scene, m[1])) > len(fitting(scene, m[2])) else "no"
    if m := re.fullmatch(rf"is the (.+) {where} the (.+)\?", question):
        (a,), (b,) = fitting(scene, m[1]), fitting(scene, m[3])
        assert lies(a, m[2], b) or lies(b, m[2], a)
        return "yes" if lies(a, m[2], b) else "no"
    if m := re.fullmatch(rf"what (colour|shape) is the thing {where} the (.+)\?", question):
        (anchor,) = fitting(scene, m[3])
        (thing,) = [t for t in scene.things if lies(t, m[2], anchor)]
        return getattr(thing, m[1])
    if m := re.fullmatch(
        r"what (colour|shape) is the thing in the (?:(top|middle|bottom) (left|middle|right)|centre)\?", question
    ):
        row, column = (
            (("top", "middle", "bottom").index(m[2]), ("left", "middle", "right").index(m[3])) if m[2] else (1, 1)
        )
        (thing,) = [t for t in scene.things if (int(t.y * 3), int(t.x * 3)) == (row, column)]
        return getattr(thing, m[1])
    if m := re.fullmatch(r"what (colour|shape) is the (?:(leftmost|rightmost|highest|lowest) )?(.+)\?", question):
        things = fitting(scene, m[3])
        side = {"leftmost": "left of", "rightmost": "right of", "highest": "above", "lowest": "below"}.get(m[2])
        if side:
            assert len(things) > 1
            things = [a for a in things if all(lies(a, side, b) for b in things if b is not a)]
        (only,) = things
        return getattr(only, m[1])
    raise AssertionError(question)


@pytest.mark.parametrize("name", SPLITS)
def test_every_answer_is_right(data, name):
    for sample in data.split(name):
        right = answer(scene_of(data, sample), sample.text)
        assert sample.target == {right: 1.0}, sample
        assert sample.references == (right,)


def test_groups_keys_and_language(data):
    samples = data.split("train")
    assert isinstance(data, Dataset)
    assert {s.group for s in samples} == {"exist", "count", "attribute", "relation", "comparison"}
    assert min(Counter(s.group for s in samples).values()) > len(samples) * 0.05
    assert len({s.key for name in SPLITS for s in data.split(name)}) == sum(len(data.split(name)) for name in SPLITS)
    assert samples[0].key == "train-000000-0"
    words = {word for s in samples for word in re.findall(r"\w+", s.text)}
    assert len(words) < 60
    assert max(len(s.text.split()) for s in samples) <= 12


def test_the_words_do_not_give_the_answer_away():
    data = ShapeScenes(train=1000, test=500, size=16)
    answers = defaultdict(Counter)
    for sample in data.split("train"):
        answers[sample.text][sample.references[0]] += 1
        answers[sample.group][sample.references[0]] += 1
    hits = defaultdict(list)
    for sample in data.split("test"):
        guess = (answers[sample.text] or answers[sample.group]).most_common(1)[0][0]
        hits[sample.group].append(guess == sample.references[0])
        hits["all"].append(guess == sample.references[0])
    limits = {"exist": 56, "count": 26, "attribute": 23, "relation": 30, "comparison": 56, "all": 35}
    assert all(100 * sum(hits[g]) / len(hits[g]) < limit for g, limit in limits.items()), hits


def content(scene):
    return tuple(sorted((t.size, t.colour, t.shape, t.column, t.row) for t in scene.things))


def test_no_scene_is_in_two_splits():
    data = ShapeScenes(train=2000, val=1000, test=1000)
    contents = {name: {content(data.scene(name, i)) for i in range(data.scenes_in[name])} for name in SPLITS}
    assert not contents["train"] & contents["val"]
    assert not contents["train"] & contents["test"]
    assert not contents["val"] & contents["test"]


def test_same_seed_same_bytes_whatever_the_order_or_number(data):
    again = ShapeScenes(train=40, val=20, test=5)
    for name in ("test", "val", "train"):
        samples = again.split(name)
        assert torch.equal(again.images(name), data.images(name)[: len(again.images(name))])
        assert [s._replace(image=0) for s in samples] == [s._replace(image=0) for s in data.split(name)[: len(samples)]]
    assert not torch.equal(again.images("val"), ShapeScenes(train=40, val=20, seed=1).images("val"))


def test_images_show_the_scene(data):
    for index in range(150):
        picture = data.images("val")[index].permute(1, 2, 0).float()
        for thing in data.scene("val", index).things:
            pixel = picture[int(thing.y * 64), int(thing.x * 64)]
            nearest = min(COLOURS, key=lambda c: (pixel - torch.tensor(RGB[c])).abs().sum().item())
            assert nearest == thing.colour


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [-JITTER, JITTER])
def test_a_thing_stays_in_its_cell_and_stands_upright(shape, shift):
    scene = Scene((Thing("large", "black", shape, 0.5 + shift, 0.5 + shift),), ())
    dark = np.argwhere(render(scene, np.random.default_rng(0), 96).mean(axis=0) < 120)  # (pixels, 2) row, column
    assert len(dark) > 200
    assert dark.min() >= 32
    assert dark.max() < 64
    if shape in ("triangle", "star"):
        tip = dark[dark[:, 0] == dark[:, 0].min(), 1]
        assert abs(tip.mean() - (0.5 + shift) * 96) < 3
        assert len(tip) <= 4


def test_things_do_not_touch_and_samples_share_one_tensor(data):
    for index in range(300):
        things = data.scene("train", index).things
        assert len({(t.row, t.column) for t in things}) == len(things)
    images = data.images("train")
    assert images.dtype == torch.uint8
    assert images.shape == (300, 3, 64, 64)
    assert data.split("train") is data.split("train")
    for sample in data.split("train")[:50]:
        assert sample.image.untyped_storage().data_ptr() == images.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"train": 0}, "train must be at least 1, got 0"),
        ({"size": 8}, "size must be at least 16, got 8"),
        ({"questions_per_scene": 0}, "questions_per_scene must be at least 1, got 0"),
    ],
)
def test_bad_numbers_are_named(given, named):
    with pytest.raises(InputError, match=named):
        ShapeScenes(**given)


def test_an_unknown_split_is_named():
    with pytest.raises(InputError, match="'dev'.*train, val, test"):
        ShapeScenes().split("dev")


def test_captions_are_five_and_true():
    data = ShapeCaptions(train=60, val=20, test=5, size=16)
    assert [len(data.split(name)) for name in SPLITS] == [300, 20, 5]
    for sample in [s for name in SPLITS for s in data.split(name)]:
        assert sample.text == ""
        assert len(set(sample.references)) == 5
        assert sample.target in sample.references
        things = scene_of(data, sample).things
        for many, colour, shape in re.findall(r"(\w+) (\w+) (\w+)", " ".join(sample.references[:2])):
            if many in NUMBERS and colour in COLOURS and plain(shape) in SHAPES:
                assert NUMBERS[many] == sum((t.colour, t.shape) == (colour, plain(shape)) for t in things)
        assert {t.colour for t in things} == {w for w in re.findall(r"\w+", sample.references[0]) if w in COLOURS}


def test_statements_are_right_and_balanced():
    data = ShapeStatements(train=400, size=16)
    samples, truths = data.split("train"), defaultdict(list)
    for sample in samples:
        assert sample.references == tuple(sample.target)
        assert holds(scene_of(data, sample), sample.text) == (sample.references == ("true",)), sample
        truths[sample.group].append(sample.references == ("true",))
    assert all(0.44 < sum(labels) / len(labels) < 0.56 for labels in truths.values()), truths


def holds(scene, statement):
    """Turn the statement into the question that it answers, and compare."""
    text = statement.removesuffix(".")
    if m := re.fullmatch(r"there (?:is|are) (no|one|two|three|four) (.+)", text):
        return len(fitting(scene, m[2])) == NUMBERS.get(m[1], 0)
    if m := re.fullmatch(r"there (is|are) (a .+|more .+)", text):
        return answer(scene, f"{m[1]} there {m[2]}?") == "yes"
    if m := re.fullmatch(r"(the .+) is (left of .+|right of .+|above .+|below .+)", text):
        return answer(scene, f"is {m[1]} {m[2]}?") == "yes"
    which, value = re.fullmatch(r"(the .+) is (?:a )?(\w+)", text).groups()
    return answer(scene, f"what {'colour' if value in COLOURS else 'shape'} is {which}?") == value


def masculine(scene, words):
    (thing,) = fitting(scene, words)
    return thing.shape in ("circle", "star")


def test_german_follows_the_gender_of_what_is_seen():
    data = ShapeTranslations(train=300, size=16)
    counts = {"one": Counter(), "named": Counter()}
    for sample in data.split("train"):
        assert sample.references == (sample.target,)
        counts[sample.group][sample.text.split()[0]] += 1
        there = []
        if m := re.match("the (.+?) one ", sample.text):
            there = [masculine(scene_of(data, sample), m[1])]
            assert sample.target.startswith("der " if there[0] else "das ")
        elif sample.text.startswith("we see"):
            there = [masculine(scene_of(data, sample), words) for words in re.findall(r"\ba (.+?) one\b", sample.text)]
            assert re.findall(r"\bein(?:en)?\b", sample.target) == ["einen" if he else "ein" for he in there]
        counts[sample.group].update(there)
    assert min(counts["one"][True], counts["one"][False]) > 200
    assert counts["one"]["we"] > 200
    assert counts["named"]["there"] == 300


def test_german_grammar():
    red = Wording("large", "red", "star")
    assert german(red, "a", "accusative", "star") == "einen großen roten Stern"
    assert german(red, "the", "dative", "star") == "dem großen roten Stern"
    assert german(Wording(colour="purple", shape="square"), "a", "nominative", "square") == "ein violettes Quadrat"
    assert german(Wording(colour="blue"), "the", "nominative", "square") == "das blaue"


@pytest.mark.parametrize("most", [1, 2, 4])
def test_scenes_have_one_thing_to_as_many_as_wanted(most):
    data = ShapeStatements(train=300, size=16, most=most)
    assert {len(data.scene("train", index).things) for index in range(300)} == set(range(1, most + 1))


def test_no_things_and_more_than_there_is_room_for_are_refused():
    for most in (0, 5):
        with pytest.raises(InputError, match=f"most must be from 1 to 4, got {most}"):
            ShapeTranslations(most=most)

"""Reports about two images: correct summaries, which depend on both the report and the images."""

import re
from collections import Counter, defaultdict

import pytest
from helpers.scenes import fitting

from velm_lightning.data import MultimodalData, ShapeSummaries
from velm_lightning.data.synthetic.shapes.scene import SHAPES
from velm_lightning.types import ImageTransform, InputError

SPLITS = ("train", "val", "test")
TOLD = r"in the (first|second) picture it was the (.+?)\."


@pytest.fixture(scope="module")
def data():
    return ShapeSummaries(train=300, val=60, test=30, size=16)


def scenes_of(data, sample):
    split, number = sample.key.split("-")
    return [data.scenes.scene(split, 2 * int(number) + place) for place in (0, 1)]


def meant(scene, words):
    """The shape of the only thing that these words describe."""
    things = [t for t in scene.things if t.place in words] if " in the " in words else fitting(scene, words)
    (thing,) = things
    return thing.shape


def summary(scenes, report):
    """Summarise a report by parsing it, without code of the dataset."""
    references = dict(re.findall(TOLD, report))
    verdict = re.search(r"in each that they (.+?)\.", report)[1]
    first, second = (meant(scene, references[which]) for scene, which in zip(scenes, ("first", "second"), strict=True))
    return f"they {verdict} a {first} and a {second}."


@pytest.mark.parametrize("name", SPLITS)
def test_every_summary_is_right(data, name):
    for sample in data.split(name):
        assert sample.target == summary(scenes_of(data, sample), sample.text), sample
        assert sample.references == (sample.target,)
        assert sample.group in sample.target


def test_a_report_is_longer_than_its_summary_and_names_no_shape(data):
    for sample in data.split("train"):
        assert sample.text.count(".") == 5 > sample.target.count(".")
        assert not set(SHAPES) & set(re.findall(r"\w+", sample.text))


def test_most_images_do_not_determine_the_shape(data):
    shapes = [{t.shape for t in scene.things} for s in data.split("train") for scene in scenes_of(data, s)]
    assert sum(len(shapes_in_scene) > 1 for shapes_in_scene in shapes) > 0.5 * len(shapes)


def test_the_report_does_not_reveal_the_shapes(data):
    shapes = defaultdict(Counter)
    for sample in data.split("train"):
        for words, shape in zip(
            (dict(re.findall(TOLD, sample.text))[which].split()[-2] for which in ("first", "second")),
            re.findall("|".join(SHAPES), sample.target),
            strict=True,
        ):
            shapes[words][shape] += 1
    guessed = sum(max(counted.values()) for counted in shapes.values())
    assert guessed / sum(counted.total() for counted in shapes.values()) < 0.45


def test_the_two_images_are_the_frames_of_a_batch(data):
    module = MultimodalData(ShapeSummaries(train=8, size=16), batch_size=4)
    module.transform = ImageTransform(16)
    batch = next(iter(module.train_dataloader()))
    samples = {sample.key: sample for sample in module.samples("train")}
    assert batch.image.shape == (4, 2, 3, 16, 16)
    for key, pictures in zip(batch.keys, batch.image, strict=True):
        assert all(a.equal(b) for a, b in zip(samples[key].image, pictures, strict=True))


def test_keys_are_unique_and_reports_independent_of_their_count(data):
    keys = [sample.key for name in SPLITS for sample in data.split(name)]
    assert len(set(keys)) == len(keys) == 390
    again = ShapeSummaries(train=5, size=16).split("train")
    assert [s.text for s in again] == [s.text for s in data.split("train")[:5]]


def test_an_empty_split_is_empty():
    assert not ShapeSummaries(train=2, val=0, size=16).split("val")


def test_images_of_no_or_too_many_things_are_refused():
    for most in (0, 5):
        with pytest.raises(InputError, match=f"most must be from 1 to 4, got {most}"):
            ShapeSummaries(most=most)

"""Incongruent images, only in evaluation: a function of the seed that gives every sample another image."""

from collections import Counter

import pytest
import torch
from helpers import tiny
from helpers.pictures import smooth
from hypothesis import given
from hypothesis import strategies as st

from velm_lightning.data import MultimodalData
from velm_lightning.data.incongruent import permuted, unchanged, with_other_images
from velm_lightning.types import ImageTransform, InputError


def several():
    """Twelve samples about five images."""
    pictures = [tiny.picture(number) for number in range(5)]
    return [sample._replace(image=pictures[place % 5]) for place, sample in enumerate(tiny.many(12))]


def numbers(samples, known):
    """The number of the image of each sample."""
    places = {sample.image.data_ptr(): place % 5 for place, sample in enumerate(known)}
    return [places[sample.image.data_ptr()] for sample in samples]


def test_images_are_permuted_and_no_sample_keeps_its_own():
    samples = several()
    for seed in range(20):
        places = numbers(with_other_images(samples, seed), samples)
        assert Counter(places) == Counter(place % 5 for place in range(12)), "each is shown as often as before"
        assert all(now != place % 5 for place, now in enumerate(places))


@given(st.lists(st.sampled_from("aaabcd"), min_size=2, max_size=40), st.integers(0, 5))
def test_a_permutation_moves_as_many_places_as_can_be(contents, seed):
    places = permuted(contents, seed)
    assert sorted(places) == list(range(len(contents)))
    assert unchanged(contents, places) == max(0, 2 * max(Counter(contents).values()) - len(contents))


def test_permutations_are_random_within_a_content():
    permutations = {tuple(permuted("aabb", seed)) for seed in range(100)}
    assert permutations == {(2, 3, 0, 1), (2, 3, 1, 0), (3, 2, 0, 1), (3, 2, 1, 0)}


def test_images_are_distinguished_by_their_content(tmp_path):
    for number in range(12):
        smooth(20 + number % 2, 20).save(tmp_path / f"{number}.png")
    samples = [sample._replace(image=tmp_path / f"{n}.png") for n, sample in enumerate(several())]
    for before, after in zip(samples, with_other_images(samples, 0), strict=True):
        assert before.image.read_bytes() != after.image.read_bytes()


def test_samples_that_must_keep_their_image_are_counted(capsys):
    samples = [sample._replace(image=tiny.picture(place // 9)) for place, sample in enumerate(tiny.many(12))]
    with_other_images(samples, 0)
    assert "6 of 12 samples keep their image, because most have the same one" in capsys.readouterr().err


def test_all_but_the_image_stays():
    samples = several()
    changed = with_other_images(samples, 0)
    assert [s._replace(image=None) for s in changed] == [s._replace(image=None) for s in samples]


def test_it_is_a_function_of_the_seed():
    samples = several()
    places = [numbers(with_other_images(samples, seed), samples) for seed in (0, 0, 1, 2, 3)]
    assert places[0] == places[1]
    assert len(set(map(tuple, places))) > 1


def test_files_and_clips_are_images_too(tmp_path):
    clips = [
        sample._replace(image=(tmp_path / f"{n}.jpg", tmp_path / "same.jpg")) for n, sample in enumerate(several())
    ]
    for before, after in zip(clips, with_other_images(clips, 0), strict=True):
        assert after.image != before.image
        assert after.image[1] == before.image[1]


def test_a_single_image_is_refused():
    with pytest.raises(InputError, match="two different images"):
        with_other_images(several()[:1], 0)


@pytest.fixture
def data():
    made = MultimodalData(tiny.Samples(train=several(), val=several(), test=several()), incongruent=True)
    made.transform = ImageTransform(tiny.SIZE)
    return made


def test_the_data_module_permutes_only_in_evaluation(data):
    samples, wrong = several(), with_other_images(several(), 0)
    assert torch.equal(data.split("train").pictured([3]).image[0], samples[3].image)
    for name, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        images = torch.cat([batch.image for batch in loader])
        assert torch.equal(images, torch.stack([sample.image for sample in wrong]))
        assert data.title(name) == f"{name}-incongruent"
    assert MultimodalData(tiny.Samples()).title("test") == "test"


def test_training_with_the_wrong_images_is_refused(data):
    with pytest.raises(InputError, match="incongruent=true is for `velm test`"):
        data.train_dataloader()

"""Another picture for every sample, in evaluation alone: a function of the seed that leaves nobody its own."""

from collections import Counter

import pytest
import torch
from helpers import tiny
from helpers.pictures import smooth
from hypothesis import given
from hypothesis import strategies as st

from velm_lightning.data import MultimodalData
from velm_lightning.data.incongruent import permuted, unchanged, with_other_pictures
from velm_lightning.types import ImageTransform, InputError


def several():
    """Twelve samples about five pictures."""
    pictures = [tiny.picture(number) for number in range(5)]
    return [sample._replace(image=pictures[place % 5]) for place, sample in enumerate(tiny.many(12))]


def numbers(samples, known):
    """Which of the known pictures each sample shows."""
    places = {sample.image.data_ptr(): place % 5 for place, sample in enumerate(known)}
    return [places[sample.image.data_ptr()] for sample in samples]


def test_pictures_are_permuted_and_no_sample_keeps_its_own():
    samples = several()
    for seed in range(20):
        shown = numbers(with_other_pictures(samples, seed), samples)
        assert Counter(shown) == Counter(place % 5 for place in range(12)), "each is shown as often as before"
        assert all(now != place % 5 for place, now in enumerate(shown))


@given(st.lists(st.sampled_from("aaabcd"), min_size=2, max_size=40), st.integers(0, 5))
def test_a_permutation_moves_as_many_places_as_can_be(contents, seed):
    places = permuted(contents, seed)
    assert sorted(places) == list(range(len(contents)))
    assert unchanged(contents, places) == max(0, 2 * max(Counter(contents).values()) - len(contents))


def test_permutations_are_random_within_a_content():
    found = {tuple(permuted("aabb", seed)) for seed in range(100)}
    assert found == {(2, 3, 0, 1), (2, 3, 1, 0), (3, 2, 0, 1), (3, 2, 1, 0)}


def test_pictures_are_told_apart_by_their_content(tmp_path):
    for number in range(12):
        smooth(20 + number % 2, 20).save(tmp_path / f"{number}.png")
    samples = [one._replace(image=tmp_path / f"{n}.png") for n, one in enumerate(several())]
    for before, after in zip(samples, with_other_pictures(samples, 0), strict=True):
        assert before.image.read_bytes() != after.image.read_bytes()


def test_samples_that_must_keep_their_picture_are_counted(capsys):
    samples = [sample._replace(image=tiny.picture(place // 9)) for place, sample in enumerate(tiny.many(12))]
    with_other_pictures(samples, 0)
    assert "6 of 12 samples keep their image, because most have the same one" in capsys.readouterr().err


def test_all_but_the_picture_stays():
    samples = several()
    changed = with_other_pictures(samples, 0)
    assert [s._replace(image=None) for s in changed] == [s._replace(image=None) for s in samples]


def test_it_is_a_function_of_the_seed():
    samples = several()
    shown = [numbers(with_other_pictures(samples, seed), samples) for seed in (0, 0, 1, 2, 3)]
    assert shown[0] == shown[1]
    assert len(set(map(tuple, shown))) > 1


def test_files_and_clips_are_pictures_too(tmp_path):
    clips = [
        sample._replace(image=(tmp_path / f"{n}.jpg", tmp_path / "same.jpg")) for n, sample in enumerate(several())
    ]
    for before, after in zip(clips, with_other_pictures(clips, 0), strict=True):
        assert after.image != before.image
        assert after.image[1] == before.image[1]


def test_one_picture_alone_is_refused():
    with pytest.raises(InputError, match="two different images"):
        with_other_pictures(several()[:1], 0)


@pytest.fixture
def data():
    made = MultimodalData(tiny.Samples(train=several(), val=several(), test=several()), incongruent=True)
    made.transform = ImageTransform(tiny.SIZE)
    return made


def test_the_data_module_does_it_in_evaluation_and_says_so(data):
    samples, wrong = several(), with_other_pictures(several(), 0)
    assert torch.equal(data.split("train").pictured([3]).image[0], samples[3].image)
    for name, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        shown = torch.cat([batch.image for batch in loader])
        assert torch.equal(shown, torch.stack([sample.image for sample in wrong]))
        assert data.title(name) == f"{name}-incongruent"
    assert MultimodalData(tiny.Samples()).title("test") == "test"


def test_training_with_the_wrong_pictures_is_refused(data):
    with pytest.raises(InputError, match="incongruent=true is for `velm test`"):
        data.train_dataloader()

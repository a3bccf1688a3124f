"""Karpathy's files give the published splits; the error for an unusable record names its number."""

import json
from pathlib import Path

import pytest

from velm_lightning.data.datasets.published.karpathy import Karpathy
from velm_lightning.types import InputError


def sentence(number=7, raw="A dog runs.") -> dict:
    return {"tokens": ["a", "dog", "runs"], "raw": raw, "imgid": 0, "sentid": number}


def image(number=0, split="train", sentences=None, **more) -> dict:
    sentences_of_image = [sentence(5 * number)] if sentences is None else sentences
    return {
        "imgid": number,
        "filename": f"{number}.jpg",
        "split": split,
        "sentences": sentences_of_image,
        "sentids": [],
        **more,
    }


@pytest.fixture
def write(tmp_path):
    def write(*images, **options) -> Karpathy:
        (tmp_path / "dataset.json").write_text(json.dumps({"images": images, "dataset": "flickr8k"}))
        return Karpathy(tmp_path, Path("dataset.json"), **options)

    return write


def refused(data: Karpathy) -> str:
    with pytest.raises(InputError) as caught:
        data.split("train")
    return str(caught.value)


def test_training_has_captions_and_evaluation_images(write, tmp_path):
    sentences = [sentence(7), sentence(8, "The dog\nis running .")]
    data = write(image(1, sentences=sentences), image(2, "val", sentences), images=Path("images"))
    both = ("A dog runs.", "The dog is running .")
    assert [sample[:6] for sample in data.split("train")] == [
        ("1-7", tmp_path / "images/1.jpg", "", both[0], both, ""),
        ("1-8", tmp_path / "images/1.jpg", "", both[1], both, ""),
    ]
    assert [sample[:6] for sample in data.split("val")] == [("2", tmp_path / "images/2.jpg", "", both[0], both, "")]
    assert data.split("test") == []


def test_restval_is_trained_on(write):
    data = write(image(1, "restval"), image(2, "val"), image(3, "test"), image(4, "train"))
    keys = {name: [sample.key for sample in data.split(name)] for name in ("train", "val", "test")}
    assert keys == {"train": ["1-5", "4-20"], "val": ["2"], "test": ["3"]}


def test_coco_images_have_their_coco_id_and_folder(write, tmp_path):
    name = "COCO_val2014_000000391895.jpg"
    (sample,) = write(image(0, "test", filepath="val2014", cocoid=391895, filename=name)).split("test")
    assert (sample.key, sample.image) == ("391895", tmp_path / "val2014" / name)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (image(1, "dev"), "dataset.json: images imgid 1: split is 'dev': use train, restval, val, test"),
        (image(1, None), "images imgid 1: split is None"),
        (image(0), "images imgid 0: image 0 is listed twice"),
        (image(0, "val"), "images imgid 0: image 0 is listed twice"),
        (image(1, sentences=[]), "images imgid 1: sentences are []: write a caption or remove the image"),
        (image(1, sentences=["a dog"]), "images imgid 1: a sentence is 'a dog': write"),
        (image(1, sentences=[sentence(raw=None)]), "images imgid 1, sentid 7: caption is null"),
        (image(1, sentences=[sentence(raw="")]), "images imgid 1, sentid 7: caption is empty"),
        (image(1, sentences=[sentence(), sentence()]), "images imgid 1: sentid 7 is listed twice"),
        (image(1, filename="../1.jpg"), "images imgid 1: image '../1.jpg' leads out of"),
        (image(1, filename="", filepath="val2014"), "images imgid 1: image '' is not a file name"),
        (image(1, filepath=3), "images imgid 1: filepath is 3: give the folder"),
        (image(1, cocoid=None), "images imgid 1: cocoid is None"),
        ({"imgid": 1, "split": "train"}, "images item 2 has no filename, sentences"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused_by_its_number(write, record, message):
    assert message in refused(write(image(0), record))


def test_another_file_is_refused(write, tmp_path):
    data = write()
    assert "dataset.json: has no list 'images'" in refused(data)
    assert "dataset_coco.json: cannot be read" in refused(Karpathy(tmp_path))


def test_faults_can_be_collected_and_the_sound_images_kept(write):
    data = write(image(0), image(1, "dev"), image(2, sentences=[]), image(3))
    problems: list[str] = []
    assert [located.sample.key for located in data.read("train", problems)] == ["0-0", "3-15"]
    assert [problem.split("imgid ")[1][0] for problem in problems] == ["1", "2"]

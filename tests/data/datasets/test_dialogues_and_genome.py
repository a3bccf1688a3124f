"""The official files of VisDial, Visual Genome and VizWiz become samples."""

import json

import pytest
from helpers.formats import photos

from velm_lightning.data import DataFiles, VisDial, VisualGenome
from velm_lightning.types import InputError


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


# VisDial

DIALOGUE = {"image_id": 3, "caption": "a cat on a sofa", "dialog": [{"question": 0, "answer": 1}, {"question": 1}]}


@pytest.fixture
def visdial(tmp_path):
    """Returns a function that writes a file of VisDial and reads a split of it."""
    photos(tmp_path / "images/train2014").joinpath("3.png").rename(tmp_path / "images/COCO_train2014_000000000003.png")

    def read(split="train", dialogue=DIALOGUE, **options):
        data = {"questions": ["is it black", "is it asleep?"], "answers": ["yes", "no, it is white"]}
        dump(tmp_path / "a.json", {"version": "1.0", "data": data | {"dialogs": [dialogue]}})
        return VisDial(tmp_path, **{"train": None, "val": None} | {split: "a.json"}, **options).split(split)

    return read


def test_every_question_has_its_history_in_the_prompt(visdial):
    first, second = visdial()
    assert first[2:6] == ("a cat on a sofa. is it black?", "no, it is white", ("no, it is white",), "round 1")
    assert second.text == "a cat on a sofa. is it black? no, it is white. is it asleep?"
    assert (second.key, second.target, second.references) == ("3-2", None, ())
    assert first.image.name == "COCO_train2014_000000000003.png"


@pytest.mark.parametrize(("rounds", "text"), [(0, "a cat on a sofa. is it asleep?"), (1, None), (None, None)])
def test_the_history_may_be_limited(visdial, rounds, text):
    whole = "a cat on a sofa. is it black? no, it is white. is it asleep?"
    assert visdial(rounds=rounds)[1].text == (text or whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "no image of number 99"),
        ({"caption": ""}, "caption is empty"),
        ({"dialog": [{"question": 2, "answer": 0}]}, "question 2 is none of the 2 in the file"),
        ({"dialog": None}, "dialog is None: give a list"),
    ],
)
def test_faults_of_dialogues_are_named(visdial, change, message):
    with pytest.raises(InputError, match=message):
        visdial(dialogue=DIALOGUE | change)


# Visual Genome


def genome(folder, content="questions", **options):
    return VisualGenome(folder, content, images="images", **options)


@pytest.fixture
def files(tmp_path):
    photos(tmp_path / "images/VG_100K", 40)
    qas = [
        [{"qa_id": 100 + n, "image_id": n, "question": "What is it?", "answer": "A cat."}]
        + [{"qa_id": 200 + n, "image_id": n, "question": "Where is it?", "answer": "On a sofa."}]
        for n in range(40)
    ]
    dump(tmp_path / "question_answers.json", [{"id": n, "qas": entries} for n, entries in enumerate(qas)])
    region = {"x": 10, "y": 20, "width": 30, "height": 20, "phrase": "the left ear"}
    regions = [{"id": n, "regions": [region | {"region_id": n, "image_id": n}]} for n in range(40)]
    dump(tmp_path / "region_descriptions.json", regions)
    dump(tmp_path / "image_data.json", [{"image_id": n, "width": 100, "height": 40} for n in range(40)])
    return tmp_path


def test_questions_of_visual_genome_have_labels(files):
    sample = genome(files, val=0, test=0).split("train")[1]
    assert sample[2:6] == ("Where is it?", {"on a sofa": 1.0}, ("on a sofa",), "where")
    assert sample.image == files / "images/VG_100K/0.png"


def test_regions_of_visual_genome_are_boxes_in_percent(files):
    sample = genome(files, "regions", val=0, test=0).split("train")[0]
    assert sample[2:5] == ("10 50 40 100", "the left ear", ("the left ear",))


def test_images_of_visual_genome_are_in_one_split(files):
    data = genome(files, val=0.2, test=0.2)
    parts = [{sample.image for sample in data.split(name)} for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert all(parts)


def test_faults_of_visual_genome_are_named(files):
    (files / "images/VG_100K/0.png").unlink()
    problems: list[str] = []
    assert len(genome(files, val=0, test=0).read("train", problems)) == 78
    assert all("image 0: no image 0.jpg in" in problem for problem in problems)
    dump(files / "image_data.json", [{"image_id": 0}])
    with pytest.raises(InputError, match="an image lacks image_id, width or height"):
        genome(files, "regions").split("train")


# VizWiz


def test_vizwiz_is_read_as_its_config_says(tmp_path):
    photos(tmp_path / "images")
    answers = [{"answer": text, "answer_confidence": "yes"} for text in ["basil"] * 5 + ["unanswerable"] * 5]
    row = {"image": "0.png", "question": "What is this?", "answers": answers, "answer_type": "other", "answerable": 1}
    dump(tmp_path / "Annotations/train.json", [row])
    data = DataFiles(root=tmp_path, train="Annotations/train.json", images="images", columns={"group": "answer_type"})
    (sample,) = data.split("train")
    assert (sample.text, sample.group, len(sample.references)) == ("What is this?", "other", 10)
    assert sample.target == {"basil": 1.0, "unanswerable": 1.0}

"""COCO's caption files are read unchanged; errors for inconsistent files name the id."""

import json
from pathlib import Path

import pytest
import yaml

from velm_lightning.data.datasets.published.coco_captions import COCOCaptions
from velm_lightning.types import Dataset, InputError

ROOT = Path(__file__).resolve().parents[3]
FLICKR8K = ROOT.parent / "shared/data/flickr8k"


def image(key=42, name="a.jpg") -> dict:
    return {"id": key, "file_name": name, "width": 160, "height": 160}


def annotation(key=7, image=42, caption="a dog runs") -> dict:
    return {"id": key, "image_id": image, "caption": caption}


TWO = [image()], [annotation(7), annotation(8, caption="the dog is running")]


@pytest.fixture
def write(tmp_path):
    def write(images, annotations=None, name="train.json", **options) -> COCOCaptions:
        whole = {"info": {}, "images": images} | ({} if annotations is None else {"annotations": annotations})
        (tmp_path / name).write_text(json.dumps(whole))
        return COCOCaptions(tmp_path, **{"train": Path("train.json"), "images": Path("images"), **options})

    return write


def refused(data: COCOCaptions, split="train") -> str:
    with pytest.raises(InputError) as caught:
        data.split(split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Samples


def test_training_has_one_sample_per_caption(write, tmp_path):
    data = write(*TWO)
    both = ("a dog runs", "the dog is running")
    assert [sample[:6] for sample in data.split("train")] == [
        ("42-7", tmp_path / "images/a.jpg", "", "a dog runs", both, ""),
        ("42-8", tmp_path / "images/a.jpg", "", "the dog is running", both, ""),
    ]
    assert isinstance(data, Dataset)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_has_one_sample_per_image(write, tmp_path, split):
    (sample,) = write(*TWO, train=None, **{split: Path("train.json")}).split(split)
    both = ("a dog runs", "the dog is running")
    assert sample[:6] == ("42", tmp_path / "images/a.jpg", "", "a dog runs", both, "")


def test_a_split_without_a_file_is_empty(write):
    assert [len(write(*TWO).split(name)) for name in ("train", "val", "test")] == [2, 0, 0]


def test_images_keep_their_order_for_any_annotation_order(write):
    annotations = [annotation(1, 9), annotation(2, 42), annotation(3, 9)]
    data = write([image(42), image(9, "b.jpg")], annotations)
    assert [sample.key for sample in data.split("train")] == ["42-2", "9-1", "9-3"]


def test_ids_may_be_names_and_numbers_may_be_written_as_text(write):
    data = write([image("Scene_0.png"), image("42", "b.jpg")], [annotation(1, "Scene_0.png"), annotation(2, 42)])
    assert [sample.key for sample in data.split("train")] == ["Scene_0.png-1", "42-2"]


def test_control_characters_in_captions_become_blanks(write):
    (sample,) = write([image()], [annotation(caption=" a dog\r\nruns\u2028fast\x0b")]).split("train")
    assert sample.target == "a dog  runs fast"


def test_images_may_lie_in_one_folder_per_split(write, tmp_path):
    write(*TWO, name="captions_val2014.json")
    options = {"test": Path("captions_val2014.json"), "folders": {"train": "train2014", "test": "val2014"}}
    data = write([image(1)], [annotation(1, 1)], **options)
    assert data.split("train")[0].image == tmp_path / "images/train2014/a.jpg"
    assert data.split("test")[0].image == tmp_path / "images/val2014/a.jpg"


def test_a_test_file_may_keep_its_captions_secret(write):
    for annotations in (None, []):
        data = write([image()], annotations, train=None, test=Path("train.json"))
        assert [(sample.key, sample.target, sample.references) for sample in data.split("test")] == [("42", None, ())]
    assert "train.json: has no list 'annotations'" in refused(write([image()]))


def test_validation_can_be_held_out_by_image(write):
    images = [image(n, f"{n}.jpg") for n in range(200)]
    annotations = [annotation(n, n % 200) for n in range(600)]
    data = write(images, annotations, holdout=0.2)
    learnt, held = ({sample.image for sample in data.split(name)} for name in ("train", "val"))
    assert len(learnt) + len(held) == 200
    assert not learnt & held
    assert len(data.split("train")) == 3 * len(learnt)
    assert len(data.split("val")) == len(held) == pytest.approx(40, abs=20)


# Faults


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([image(), image(43)], [annotation()], "train.json: images id 43: has no annotation"),
        ([image()], [annotation(), annotation(8, 43)], "annotations id 8: image_id 43 is not among the 1 images"),
        ([image(), image()], [annotation()], "images id 42: this image is listed twice"),
        ([image(), image("42")], [annotation()], "images id '42': this image is listed twice"),
        ([image()], [annotation(), annotation()], "annotations id 7: this annotation is listed twice"),
        ([image()], [annotation(caption=None)], "annotations id 7: caption is null: write a text or remove it"),
        ([image()], [annotation(caption=5)], "annotations id 7: caption is 5: write a text"),
        ([image()], [annotation(caption=" \n")], "annotations id 7: caption is empty"),
        ([image()], [annotation(image=None)], "annotations id 7: image_id is None: give a whole number or a name"),
        ([image(1.5)], [annotation()], "images id 1.5: id is 1.5: give a whole number or a name"),
        ([image(name="../a.jpg")], [annotation()], "images id 42: image '../a.jpg' leads out of"),
        ([image(name=None)], [annotation()], "images id 42: image None is not a file name"),
        ([{"id": 42}], [annotation()], "images item 1 has no file_name: {'id': 42}"),
        ([image()], ["text"], "annotations item 1 has no id, image_id, caption: 'text'"),
        ([], [annotation()], "train.json: has no list 'images'"),
    ],
)
def test_mismatched_images_and_annotations_are_refused(write, images, annotations, message):
    assert message in refused(write(images, annotations))


def test_another_kind_of_file_is_refused(write, tmp_path):
    data = write(*TWO)
    (tmp_path / "train.json").write_text('[{"image_id": 42, "caption": "a dog"}]')
    assert "train.json: has no list 'annotations' with anything in it: is it a file of annotations?" in refused(data)
    (tmp_path / "train.json").write_text('{"images": [{"id": 1,')
    assert "train.json:1: not JSON at column 22" in refused(data)
    (tmp_path / "train.json").unlink()
    assert "train.json: cannot be read" in refused(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folders": {"tran": "a"}}, "folders.tran is not one of train, val, test; did you mean 'train'"),
        ({"train": None}, "name at least one file: train, val or test"),
        ({"holdout": 0.1, "val": Path("val.json")}, "goes with `train` and without `val`"),
    ],
)
def test_faulty_arguments_are_refused_by_name(write, options, message):
    with pytest.raises(InputError, match=message):
        write(*TWO, **options)


def test_all_faults_can_be_collected_and_the_sound_captions_kept(write):
    annotations = [annotation(1), annotation(2, caption=None), annotation(3, 99), annotation(4, 44, caption="")]
    data = write([image(42), image(43), image(44), image(45, "/a.jpg")], [*annotations, annotation(5, 45)])
    problems: list[str] = []
    assert [located.sample.key for located in data.read("train", problems)] == ["42-1"]
    assert [problem.split("train.json: ")[1].split(": ")[0] for problem in problems] == [
        "annotations id 2",
        "annotations id 4",
        "images id 43",
        "images id 45",
        "annotations id 3",
    ]


# Real files


@pytest.mark.skipif(not FLICKR8K.is_dir(), reason=f"no {FLICKR8K}")
def test_flickr8k_is_read_by_the_config_that_a_user_would_write():
    arguments = yaml.safe_load((ROOT / "conf/data/flickr8k.yaml").read_text())["dataset"]["init_args"]
    data = COCOCaptions(**{**arguments, "root": FLICKR8K})
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [30000, 1000, 1000]
    assert all(len(sample.references) == 5 for sample in data.split("test"))
    assert all(sample.image.is_file() for sample in data.split("test"))

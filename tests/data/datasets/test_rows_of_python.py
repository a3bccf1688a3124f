"""Samples from rows in memory."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from helpers import tiny
from PIL import Image

from velm_lightning.data import MultimodalData
from velm_lightning.types import InputError


def row(shade, **changes):
    return {"image": np.full((20, 16, 3), shade, np.uint8), "text": "dark ?", "answers": "yes"} | changes


ROWS = [row(shade) for shade in range(40)]


class Frame:
    """The part of a pandas DataFrame that is used."""

    iloc = None

    def __init__(self, rows):
        self.rows = rows

    def to_dict(self, orient):
        assert orient == "records"
        return self.rows


@dataclasses.dataclass
class ImageFeature:
    decode: bool = True


class HubTable:
    """The part of a table of ``datasets`` that is used; it decodes images unless its feature says otherwise."""

    def __init__(self, rows, decode=True):
        self.rows, self.features = rows, {"image": ImageFeature(decode), "text": None}

    def cast_column(self, name, feature):
        assert name == "image"
        return HubTable(self.rows, feature.decode)

    def __iter__(self):
        assert not self.features["image"].decode
        yield from self.rows


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def texts(data, split="train"):
    return [(sample.text, sample.target) for sample in data.samples(split)]


@pytest.mark.parametrize("table", [list, iter, Frame], ids=["list", "iterator", "frame"])
def test_every_table_gives_the_same_samples(table):
    expected, data = MultimodalData.from_rows(ROWS), MultimodalData.from_rows(table(ROWS))
    for split in ("train", "val", "test"):
        assert texts(data, split) == texts(expected, split)
        assert [s.key for s in data.samples(split)] == [s.key for s in expected.samples(split)]


def test_images_of_a_hub_table_stay_encoded():
    data = MultimodalData.from_rows(HubTable([one | {"image": png(one["image"])} for one in ROWS]))
    image = data.samples("train")[0].image
    assert image.ndim == 1
    assert image.dtype == torch.uint8


def test_one_table_is_split_by_images_whatever_its_order():
    twice = [one | {"text": text} for one in ROWS for text in ("dark ?", "light ?")]
    data, turned = MultimodalData.from_rows(twice), MultimodalData.from_rows(twice[::-1])
    sizes = {split: len(data.samples(split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 64, "val": 8, "test": 8}
    shades = {split: {int(s.image[0, 0, 0]) for s in data.samples(split)} for split in sizes}
    assert not shades["train"] & shades["val"] | shades["train"] & shades["test"] | shades["val"] & shades["test"]
    assert shades["test"] == {int(s.image[0, 0, 0]) for s in turned.samples("test")}


def test_rows_with_equal_images_share_one():
    data = MultimodalData.from_rows({"train": [row(3), row(3, text="light ?"), row(4)], "val": [row(5)]})
    first, second, third = (sample.image.data_ptr() for sample in data.samples("train"))
    assert first == second != third


def test_rows_by_split_are_kept():
    data = MultimodalData.from_rows({"train": ROWS[:5], "validation": ROWS[5:7], "test": ROWS[7:8]})
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [5, 2, 1]
    data = MultimodalData.from_rows({"train": ROWS})
    assert (len(data.samples("val")), data.has("test")) == (4, False)


def test_files_are_read_from_the_folder_of_images(tmp_path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    rows = {"train": [row(0, image="a.png"), row(0, image=tmp_path / "a.png")]}
    data = MultimodalData.from_rows(rows, images=tmp_path, holdout=0)
    assert [sample.image for sample in data.samples("train")] == [tmp_path / "a.png"] * 2
    with pytest.raises(InputError, match=r"row 0 of train: image '\.\./a\.png' leads out of"):
        MultimodalData.from_rows({"train": [row(0, image="../a.png")]}, images=tmp_path)


def test_a_misspelt_part_in_columns_is_refused():
    with pytest.raises(InputError, match=r"columns\.txt is not one of image, text, .*; did you mean 'text'"):
        MultimodalData.from_rows(ROWS, columns={"txt": "question"})


def test_columns_are_named_as_in_files():
    rows = [{"picture": one["image"], "caption": "a dark square"} for one in ROWS]
    data = MultimodalData.from_rows(rows, columns={"image": "picture", "text": None, "target": "caption"})
    assert texts(data)[0] == ("", "a dark square")


def test_data_from_rows_can_be_trained_on():
    data = MultimodalData.from_rows([row(i, answers=("yes", "no")[i % 2]) for i in range(20)], batch_size=4)
    data.connect(tiny.fusion(vocabulary=data.vocabulary))
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (4, 3, 16, 16)
    assert data.vocabulary.answers == ["no", "yes"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the rows of train are empty"),
        ("a.csv", "rows are of type str: give dictionaries, a DataFrame or a table"),
        ([["a.png", "what ?"]], "row 0 is of type list: give a dictionary of columns"),
        ([{"text": "a"}], "row 0 of train: no column 'image'"),
        ([row(0, image=3)], "row 0 of train: an image is of type int"),
        ([row(0, image=None)], "row 0 of train: an image is of type NoneType"),
        ({"image": ["a.png"]}, r"rows by split have the keys \['image'\]: name them train, val and test"),
        ([row(0), row(0)], "1 images are too few to hold out some for val and test"),
        ([row(0, key="a"), row(1, key="a")], "row 1 of train: key 'a' is also in row 0 of train"),
    ],
)
def test_what_is_no_row_is_named(rows, message):
    with pytest.raises(InputError, match=message):
        MultimodalData.from_rows(rows)


def test_rows_in_place_of_a_dataset_are_explained():
    with pytest.raises(InputError, match="dataset is of type list: give a Dataset, such as ShapeScenes"):
        MultimodalData(ROWS)


def test_tables_of_pandas_and_datasets_are_read():
    import datasets
    import pandas
    from helpers import formats

    tables = (pandas.DataFrame(formats.rows(40)), formats.table(40))
    both = [MultimodalData.from_rows({"train": one, "val": one}) for one in tables]
    for data in both:
        assert [sample.target for sample in data.samples("train")[:2]] == [{"red": 1.0}, {"green": 1.0}]
        assert data.samples("val")[3].image.numpy().tobytes() == formats.rows()[3]["image"]["bytes"]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    labelled = [{"image": row["image"], "label": n % 2} for n, row in enumerate(formats.rows(4))]
    named = datasets.DatasetDict({"train": datasets.Dataset.from_list(labelled, features=features)})
    data = MultimodalData.from_rows(named, holdout=0)
    assert [[*sample.target] for sample in data.samples("train")] == [["cat"], ["dog"], ["cat"], ["dog"]]

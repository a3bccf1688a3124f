"""MyDataset reads every image once, with the name of its folder as the answer, and a model trains on it."""

import pytest
from my_dataset import MyDataset
from PIL import Image

import velm_lightning as velm


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val", "test"):
        for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (32 + number, 32), colour).save(folder / f"{number}.png")
    return tmp_path / "data"


def test_every_image_is_a_sample_of_its_class(root):
    samples = MyDataset(root).split("train")
    assert len(samples) == len({sample.key for sample in samples}) == 8
    assert {sample.references for sample in samples} == {("red",), ("blue",)}


def test_a_folder_without_splits_is_refused(tmp_path):
    with pytest.raises(velm.InputError, match="no folder train"):
        MyDataset(tmp_path).split("train")


def test_a_model_trains_on_it(root, tmp_path):
    data = velm.MultimodalData(MyDataset(root), batch_size=4)
    model = velm.LateFusion(
        image_encoder=velm.SmallCNN(32, widths=(8, 8), dim=16),
        text_encoder=velm.TransformerTextEncoder(dim=16, depth=1, heads=2),
        task=velm.Classification(),
        vocabulary=data.vocabulary,
    )
    run = velm.fit(model, data, max_epochs=1, runs=tmp_path / "runs")
    assert 0 <= run.scores["test"]["score"] <= 1

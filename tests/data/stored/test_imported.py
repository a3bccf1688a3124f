"""Any data is written as shards and an index, and read back one by one with the same samples."""

import json
import pickle
import tarfile
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.formats import photos, png, rows

from velm_lightning.cli import data as command
from velm_lightning.data import DataFiles, ImportedData, MultimodalData, ShapeClips, ShapeScenes
from velm_lightning.data.images.decode import read_image
from velm_lightning.data.stored.importing import import_dataset
from velm_lightning.types import FilePart, ImageTransform, InputError


@pytest.fixture
def table(tmp_path):
    photos(tmp_path / "photos")
    lines = [f"{n % 5}.png,{row['question']},{row['answer']}" for n, row in enumerate(rows())]
    (tmp_path / "table.csv").write_text("\n".join(["image,question,answer", *lines]) + "\n")
    return DataFiles(train=tmp_path / "table.csv", val=tmp_path / "table.csv")


def pixels(image):
    frames = image if isinstance(image, tuple) else (image,)
    return [read_image(frame, ImageTransform(16)) for frame in frames]


def check_equal(read, written):
    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        assert one._replace(image=other.image) == other._replace(references=tuple(other.references))
        assert all(map(torch.equal, pixels(one.image), pixels(other.image)))


def test_samples_and_images_are_read_back(table, tmp_path):
    assert import_dataset(table, tmp_path / "stored") == {"train": 8, "val": 8, "test": 0}
    stored = ImportedData(tmp_path / "stored")
    for split in ("train", "val", "test"):
        check_equal(stored.split(split), table.split(split))
    assert stored.split("val")[-1].image == FilePart(
        tmp_path / "stored/images-000000.tar", stored.split("train")[2].image.offset, len(png("blue", (14, 8))), "2.png"
    )


GENERATED = [ShapeScenes(4, 2, 2, size=16), ShapeClips(3, 2, 2, size=16)]


@pytest.mark.parametrize("dataset", GENERATED, ids=["scenes", "clips"])
def test_pixels_and_clips_are_stored_too(tmp_path, dataset):
    import_dataset(dataset, tmp_path / "stored")
    check_equal(ImportedData(tmp_path / "stored").split("train"), dataset.split("train"))


def test_shards_are_ordinary_archives_of_bounded_size(table, tmp_path):
    import_dataset(table, tmp_path / "stored", shard=1500)
    names = []
    for shard in sorted((tmp_path / "stored").glob("*.tar")):
        with tarfile.open(shard) as archive:
            names += archive.getnames()
    assert names == [f"00000000{number}.png" for number in range(5)]
    assert len(list((tmp_path / "stored").glob("*.tar"))) == 3
    check_equal(ImportedData(tmp_path / "stored").split("train"), table.split("train"))


def test_a_split_is_a_sequence_that_processes_can_share(table, tmp_path):
    import_dataset(table, tmp_path / "stored")
    samples = ImportedData(tmp_path / "stored").split("train")
    assert samples[2:4] == [samples[2], samples[3]]
    assert samples[-1] == list(samples)[7] == pickle.loads(pickle.dumps(samples))[7]
    with pytest.raises(IndexError):
        samples[8]


def test_stored_data_trains(table, tmp_path):
    import_dataset(table, tmp_path / "stored")
    batches = []
    for dataset in (table, ImportedData(tmp_path / "stored")):
        data = MultimodalData(dataset, batch_size=8)
        data.connect(tiny.fusion(vocabulary=data.vocabulary))
        batches.append(next(iter(data.train_dataloader())))
    assert torch.equal(batches[0].image, batches[1].image)
    assert torch.equal(batches[0].ids, batches[1].ids)


def test_a_folder_that_exists_or_has_another_layout_is_refused(table, tmp_path):
    with pytest.raises(InputError, match="exists: name a new folder"):
        import_dataset(table, tmp_path / "photos")
    import_dataset(table, tmp_path / "stored")
    (tmp_path / "stored/velm_data.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(InputError, match="has another layout than 1: import the data again"):
        ImportedData(tmp_path / "stored")


def test_nothing_remains_of_an_import_that_fails(table, tmp_path):
    Path(tmp_path / "photos/3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png: cannot be read"):
        import_dataset(table, tmp_path / "stored")
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "table.csv"}


@pytest.mark.parametrize(("change", "message"), [(b"x", "does not fit its index"), (None, "is no sample")])
def test_damaged_lines_are_named(table, tmp_path, change, message):
    import_dataset(table, tmp_path / "stored")
    lines = tmp_path / "stored/train.jsonl"
    content = lines.read_bytes()
    lines.write_bytes(content + change if change else content.replace(b'["1"', b'{"1"'))
    with pytest.raises(InputError, match=message):
        list(ImportedData(tmp_path / "stored").split("train"))


def test_a_sample_cannot_name_a_file_elsewhere(table, tmp_path):
    import_dataset(table, tmp_path / "stored")
    lines = tmp_path / "stored/train.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"images-000000.tar", b"../table.csv     "))
    with pytest.raises(InputError, match="leads out of"):
        list(ImportedData(tmp_path / "stored").split("train"))


def test_the_command_imports_and_the_result_is_named_by_its_path(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.main(["data", "import", "table.csv", "--to", "stored data"]) == 0
    assert "velm fit vqa --data 'stored data'" in capsys.readouterr().out
    assert command.main(["data", "check", "stored data"]) == 0
    assert "no problems" in capsys.readouterr().out

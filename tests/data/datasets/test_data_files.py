"""Files of every format give the same samples, whoever wrote them; recognised by content and named by a path."""

import io
import json
import tarfile

import datasets
import numpy as np
import pandas
import pyarrow
import pytest
import torch
import webdataset
from helpers import tiny
from helpers.formats import COLOURS, photos, png, rows, table
from pyarrow import parquet

from velm_lightning.data import DataFiles, MultimodalData
from velm_lightning.data.images.decode import read_image
from velm_lightning.types import FilePart, ImageTransform, InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def colour_of(image):
    pixel = read_image(image, ImageTransform(8))[:, 0, 0].tolist()
    return {(255, 0, 0): "red", (0, 128, 0): "green", (0, 0, 255): "blue", (255, 165, 0): "orange"}[tuple(pixel)]


def read(path, split="train", **options):
    return DataFiles(path, **{"holdout": 0} | options).split(split)


def check(samples, count=8, text="what colour is it?"):
    """Check that the samples are those of ``helpers.formats``, images included."""
    assert [sample.text for sample in samples] == [text] * count
    assert [sample.target for sample in samples] == [{COLOURS[n % 4]: 1.0} for n in range(count)]
    assert [colour_of(sample.image) for sample in samples] == [COLOURS[n % 4] for n in range(count)]


def refused(path, **options):
    with pytest.raises(InputError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Arrow and Parquet


def test_parquet_of_the_hub_is_read_with_its_images(tmp_path):
    table().to_parquet(tmp_path / "train.parquet")
    check(read(tmp_path / "train.parquet"))


def test_parquet_of_pandas_is_read_with_its_images(tmp_path):
    pandas.DataFrame(rows()).to_parquet(tmp_path / "rows.parquet")
    check(read(tmp_path / "rows.parquet"))


def test_parquet_without_images_names_files(tmp_path):
    photos(tmp_path / "photos")
    frame = pandas.DataFrame(rows())
    frame["image"] = [f"{number}.png" for number in range(8)]
    frame.to_parquet(tmp_path / "rows.parquet")
    check(read(tmp_path / "rows.parquet"))
    assert not (tmp_path / "cache").exists()


def test_images_of_parquet_are_parts_of_one_file(tmp_path):
    table().to_parquet(tmp_path / "train.parquet")
    samples = read(tmp_path / "train.parquet")
    assert all(isinstance(sample.image, FilePart) for sample in samples)
    assert samples[3].image.read() == rows()[3]["image"]["bytes"]
    assert [path.suffix for path in (tmp_path / "cache/velm_lightning/tables").iterdir()].count(".arrow") == 1


def test_the_cache_folder_may_be_a_text_with_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    table().to_parquet(tmp_path / "train.parquet")
    assert read(tmp_path / "train.parquet", cache_dir="~/mine")[0].image.file.is_relative_to(tmp_path / "mine")


def test_a_changed_parquet_file_is_read_again(tmp_path):
    table().to_parquet(tmp_path / "train.parquet")
    read(tmp_path / "train.parquet")
    table(5).to_parquet(tmp_path / "train.parquet")
    check(read(tmp_path / "train.parquet"), 5)


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow_files_are_read_whether_compressed_or_not(tmp_path, kind, compression):
    content = pyarrow.Table.from_pylist(rows())
    path = tmp_path / "rows.arrow"
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    opened = pyarrow.ipc.new_file if kind == "file" else pyarrow.ipc.new_stream
    with opened(path, content.schema, options=options) as writer:
        writer.write_table(content, max_chunksize=3)
    samples = read(path)
    check(samples)
    assert (samples[0].image.file == path) == (compression is None)


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary_view()], ids=str)
def test_columns_of_plain_bytes_are_images(tmp_path, kind):
    images = pyarrow.array([png(colour) for colour in COLOURS], kind)
    content = pyarrow.table({"image": images, "question": ["what colour is it?"] * 4, "answer": COLOURS})
    with pyarrow.ipc.new_file(tmp_path / "rows.arrow", content.schema) as writer:
        writer.write_table(content)
    check(read(tmp_path / "rows.arrow"), 4)


def test_a_list_of_images_is_a_clip(tmp_path):
    pairs = [{"image": [one["image"] for one in pair], "label": 1} for pair in (rows(2), rows(4)[2:])]
    parquet.write_table(pyarrow.Table.from_pylist(pairs), tmp_path / "pairs.parquet")
    samples = read(tmp_path / "pairs.parquet")
    assert [[colour_of(frame) for frame in sample.image] for sample in samples] == [COLOURS[:2], COLOURS[2:]]


def test_numbers_of_labels_become_their_names(tmp_path):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=COLOURS)})
    images = [{"image": row["image"], "label": number % 4} for number, row in enumerate(rows())]
    datasets.Dataset.from_list(images, features=features).to_parquet(tmp_path / "train.parquet")
    check(read(tmp_path / "train.parquet"), text="")


@pytest.mark.parametrize("split", [False, True])
def test_what_datasets_saves_to_disk_is_read(tmp_path, split):
    if split:
        datasets.DatasetDict({"train": table(), "validation": table(3)}).save_to_disk(tmp_path / "saved")
        check(read(tmp_path / "saved", "val"), 3)
    else:
        table().save_to_disk(tmp_path / "saved", num_shards=3)
    samples = read(tmp_path / "saved")
    check(samples)
    assert samples[0].image.file.parent.is_relative_to(tmp_path / "saved")


def test_a_damaged_table_is_one_sentence(tmp_path):
    table().to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-300])
    assert "a.parquet: not a Parquet table that can be read" in refused(tmp_path / "a.parquet")
    table().save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:400])
    assert "not an Arrow table that can be read" in refused(tmp_path / "saved")


def test_a_file_that_shrinks_is_named(tmp_path):
    table().save_to_disk(tmp_path / "saved")
    image = read(tmp_path / "saved")[-1].image
    image.file.write_bytes(b"")
    with pytest.raises(InputError, match=r"ends before its image 7\.png: replace the file"):
        read_image(image, ImageTransform(8))


def test_splits_are_found_by_the_names_of_files(tmp_path):
    for number in range(2):
        table().select(range(4 * number, 4 * number + 4)).to_parquet(
            tmp_path / f"data/train-0000{number}-of-00002.parquet"
        )
    table(2).to_parquet(tmp_path / "data/validation-00000-of-00001.parquet")
    table(3).to_parquet(tmp_path / "data/test-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text("# A dataset of the hub")
    data = DataFiles(tmp_path)
    for split, count in (("train", 8), ("val", 2), ("test", 3)):
        check(data.split(split), count)
    check(DataFiles(train=tmp_path / "data/train-*.parquet").split("train"))


def test_a_whole_table_holds_out_images_for_validation(tmp_path):
    many = [row | {"image": {"bytes": png("red", (8 + n, 8)), "path": None}} for n, row in enumerate(rows(100))]
    pandas.DataFrame(many).to_parquet(tmp_path / "all.parquet")
    data = DataFiles(tmp_path / "all.parquet")
    parts = [{sample.image.offset for sample in data.split(name)} for name in ("train", "val")]
    assert len(parts[0]) + len(parts[1]) == 100
    assert 2 <= len(parts[1]) <= 25
    assert not parts[0] & parts[1]


# Folders of images


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_an_image_folder_with_metadata_is_read(tmp_path, name):
    photos(tmp_path / "train")
    frame = pandas.DataFrame(rows()).drop(columns="image")
    frame.insert(0, "file_name", [f"{number}.png" for number in range(8)])
    if name.endswith(".parquet"):
        frame.to_parquet(tmp_path / "train" / name)
    elif name.endswith(".csv"):
        frame.to_csv(tmp_path / "train" / name, index=False)
    else:
        frame.to_json(tmp_path / "train" / name, orient="records", lines=True)
    check(read(tmp_path))
    check(read(tmp_path / "train"))


def test_subfolders_are_classes(tmp_path):
    for number, row in enumerate(rows()):
        (tmp_path / "photos" / row["answer"]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / row["answer"] / f"{number}.png").write_bytes(row["image"]["bytes"])
    samples = read(tmp_path / "photos")
    assert {sample.image.parent.name: sample.target for sample in samples} == {name: {name: 1.0} for name in COLOURS}
    assert len(samples) == 8
    (tmp_path / "photos/loose.png").write_bytes(png("red"))
    assert "loose.png: is in no folder of a class" in refused(tmp_path / "photos")


def test_loose_images_are_a_test_split(tmp_path):
    data = DataFiles(photos(tmp_path / "photos"), holdout=0)
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [0, 0, 8]
    assert data.split("test")[0].target is None


def test_metadata_stays_within_its_folder(tmp_path):
    photos(tmp_path / "train")
    (tmp_path / "other.png").write_bytes(png("red"))
    (tmp_path / "train/metadata.csv").write_text("file_name,label\n../other.png,red\n")
    assert "metadata.csv:2: image '../other.png' leads out of" in refused(tmp_path / "train")
    (tmp_path / "train/metadata.csv").write_text("name,label\n0.png,red\n")
    assert "metadata.csv:2: no column 'file_name' in name, label" in refused(tmp_path / "train")


# Tar shards


def write_shards(folder, count=8, per_shard=100, **fields):
    folder.mkdir(exist_ok=True)
    with webdataset.ShardWriter(str(folder / "pairs-%06d.tar"), maxcount=per_shard, verbose=0) as writer:
        for number, row in enumerate(rows(count)):
            texts = {name: value(row) for name, value in fields.items()}
            writer.write({"__key__": f"{number:06}", "png": row["image"]["bytes"], **texts})


def test_shards_of_webdataset_are_read(tmp_path):
    def record(row):
        return {"question": row["question"], "answer": row["answer"]}

    write_shards(tmp_path, json=record)
    samples = read(tmp_path / "pairs-000000.tar")
    check(samples)
    assert samples[3].key == "000003"
    assert samples[3].image.file == tmp_path / "pairs-000000.tar"
    write_shards(tmp_path / "many", per_shard=3, json=record)
    for place in (tmp_path / "many", tmp_path / "many/pairs-{000000..000002}.tar", tmp_path / "many/pairs-*.tar"):
        check(read(place))


def test_shards_may_each_count_their_samples_from_0(tmp_path):
    for name in ("a", "b"):
        write_shards(tmp_path / name, 3, cls=lambda row: 1)
        (tmp_path / name / "pairs-000000.tar").rename(tmp_path / f"{name}.tar")
        (tmp_path / name).rmdir()
    keys = [f"{shard}/00000{number}" for shard in "ab" for number in range(3)]
    assert [sample.key for sample in read(tmp_path)] == keys
    assert [sample.key for sample in read(None, train=tmp_path / "*.tar")] == keys


def test_texts_of_shards_are_captions_and_classes(tmp_path):
    write_shards(tmp_path, txt=lambda row: f"a {row['answer']} square\n")
    assert read(tmp_path / "pairs-000000.tar")[0][2:5] == ("", "a red square", ("a red square",))
    write_shards(tmp_path, cls=lambda row: COLOURS.index(row["answer"]))
    assert [*read(tmp_path / "pairs-000000.tar")[2].target] == ["2"]


def test_a_pickle_in_a_shard_is_not_loaded(tmp_path):
    write_shards(tmp_path, pyd=lambda row: {"danger": 1}, cls=lambda row: 1)
    assert len(read(tmp_path / "pairs-000000.tar")) == 8


def test_faulty_shards_are_named(tmp_path):
    write_shards(tmp_path, cls=lambda row: 1)
    shard = tmp_path / "pairs-000000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 3])
    assert "pairs-000000.tar: not a whole tar archive" in refused(shard)
    with tarfile.open(shard, "w") as archive:
        for name, content in (("a.png", png("red")), ("a.json", b"[1]")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    assert "sample 'a': its json file holds [1]: write a record" in refused(shard)
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b")
    assert "a compressed shard cannot be read at any place" in refused(tmp_path / "a.tar.gz")


def test_a_shard_that_is_only_named_as_compressed_is_read(tmp_path):
    write_shards(tmp_path, cls=lambda row: 1)
    (tmp_path / "pairs-000000.tar").rename(tmp_path / "a.tar.gz")
    assert len(read(tmp_path / "a.tar.gz")) == 8


# Paths


def test_a_path_that_leads_to_nothing_is_named(tmp_path):
    assert "none.parquet: cannot be read (no such file or folder)" in refused(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no file matches this pattern"):
        DataFiles(train=tmp_path / "train-*.tar").split("train")
    with pytest.raises(InputError, match="name at least one file: train, val or test, or `path`, not both"):
        DataFiles(tmp_path, train="a.csv")
    (tmp_path / "empty").mkdir()
    assert "holds no images and no table" in refused(tmp_path / "empty", split="test")


def test_images_are_found_in_a_subfolder_of_the_tables(tmp_path):
    photos(tmp_path / "Images")
    frame = pandas.DataFrame(rows())
    frame["image"] = [f"{number}.png" for number in range(8)]
    frame.to_csv(tmp_path / "table.csv")
    check(read(tmp_path / "table.csv"))
    check(read(tmp_path))


def test_parts_of_files_train_from_every_cache(tmp_path):
    table().to_parquet(tmp_path / "train.parquet")
    batches = []
    for mode in ("memory", "disk", "disabled"):
        data = MultimodalData(
            DataFiles(train=tmp_path / "train.parquet"), batch_size=8, image_cache=mode, cache_dir=tmp_path / "pixels"
        )
        data.connect(tiny.fusion(vocabulary=data.vocabulary))
        batches.append(next(iter(data.train_dataloader())))
    assert torch.equal(batches[0].image, batches[1].image)
    assert torch.equal(batches[0].image, batches[2].image)
    assert np.ptp(batches[0].image.float().numpy()) > 0
    assert json.dumps(data.vocabulary.answers) == json.dumps(sorted(COLOURS))

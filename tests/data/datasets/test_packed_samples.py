"""Splits of files are packed: samples become objects when they are used, and large tables are read once."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from helpers.formats import photos, table
from hypothesis import given
from hypothesis import strategies as st

from velm_lightning.data import DataFiles
from velm_lightning.data.checks.check import check_dataset
from velm_lightning.data.datasets import data_files, sample_cache
from velm_lightning.data.datasets.holdout import held_out
from velm_lightning.data.datasets.located import Located
from velm_lightning.data.datasets.packed import Packing
from velm_lightning.io import digests
from velm_lightning.types import FilePart, InputError, Sample, Turn

PART = FilePart(Path("a.tar"), 512, 9, "é.png")
TURNS = (Turn("user", (None, "what?")), Turn("assistant", ("a\ncat",), True))
IMAGES = {
    "a file": Path("folder/ü 1.png"),
    "a file of the working folder": Path("1.png"),
    "an absolute file": Path("/data/1.png"),
    "a name that is not UTF-8": Path("\udcff.png"),
    "a part of a file": PART,
    "pixels": torch.zeros(3, 2, 2, dtype=torch.uint8),
    "a clip": (Path("a/1.png"), PART, Path("b/2.png")),
    "no image": (),
}
TARGETS = {"answers": {"b": 1.0, "a": 1 / 3}, "a sentence": "ein Hund", "none": None}


def packed(samples):
    packing = Packing()
    for number, sample in enumerate(samples):
        packing.append(Located(f"rows.csv:{number}", sample))
    return packing.packed()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_a_packed_sample_equals_what_was_packed(image, target):
    sample = Sample("key", image, "what?", target, ("a cat", "\u2028"), "group", TURNS)
    rows = packed([sample])
    (located,) = rows
    assert located == ("rows.csv:0", sample)
    assert rows.samples[0].image is image or not isinstance(image, torch.Tensor)
    assert list(rows.samples[0].target or ()) == list(target or ())  # in the same order


def test_packed_samples_are_a_sequence():
    every = [Sample(str(number), PART, "", None, ()) for number in range(5)]
    samples = packed(every).samples
    assert (len(samples), samples[-1], samples[1:4], samples[::-2]) == (5, every[-1], every[1:4], every[::-2])
    assert samples == every
    assert samples != every[:4]
    assert pickle.loads(pickle.dumps(samples)) == every
    assert every[2] in samples
    with pytest.raises(IndexError):
        samples[5]


# Holding out


def held_out_by_definition(items, share):
    """Merge names with a common image until nothing changes; the smallest name of a group decides."""
    groups = [({name}, set(files)) for name, files in items]
    while True:
        pairs = [(a, b) for a in groups for b in groups if a is not b and (a[0] & b[0] or a[1] & b[1])]
        if not pairs:
            break
        a, b = pairs[0]
        groups = [group for group in groups if group is not a and group is not b] + [(a[0] | b[0], a[1] | b[1])]
    smallest = {name: min(names) for names, _ in groups for name in names}
    draw = {low: int.from_bytes(hashlib.sha256(low.encode()).digest()[:8], "big") for low in smallest.values()}
    chosen = {low for low in draw if draw[low] < share * 2**64}
    if share and not chosen and len(draw) > 1:
        chosen = {min(draw, key=draw.get)}
    if share and len(chosen) == len(draw):
        chosen -= {max(draw, key=draw.get, default=None)}
    return [smallest[name] in chosen for name, _ in items]


FILES = st.sets(st.integers(0, 9).map(lambda number: Path(f"gone/{number}.png")), max_size=3)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), FILES), max_size=12), st.floats(0, 0.99))
def test_copies_of_an_image_are_on_one_side(items, share):
    items = [(name, sorted(files)) for name, files in items]
    assert held_out(items, share) == held_out_by_definition(items, share)


def test_parts_of_files_with_the_same_bytes_are_one_image(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"redbluered")
    (tmp_path / "b.bin").write_bytes(b"_red")
    places = [("a", 0, 3), ("a", 3, 4), ("a", 7, 3), ("b", 1, 3)]
    parts = [FilePart(tmp_path / f"{name}.bin", start, length) for name, start, length in places]
    for share in (0.2, 0.5, 0.8):
        sides = held_out([(f"name {number}", [part]) for number, part in enumerate(parts)], share)
        assert sides[0] == sides[2] == sides[3]


# Reading once


@pytest.fixture
def walks(monkeypatch):
    """The reads of the rows of a file, counted."""
    count, read = [], data_files.rows_of
    monkeypatch.setattr(data_files, "rows_of", lambda *given: count.append(given) or read(*given))
    return count


def lines(tmp_path, rows):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "rows.jsonl"


def test_a_held_out_split_is_read_with_the_training_split(tmp_path, walks):
    data = DataFiles(
        lines(tmp_path, [{"image": f"{n}.png", "text": "what?", "answers": "a"} for n in range(40)]), holdout=0.3
    )
    train = data.split("train")
    before = len(walks)
    val = data.split("val")
    assert len(walks) == before
    assert sorted(int(sample.key) for part in (train, val) for sample in part) == list(range(40))
    assert val


def test_a_fault_of_a_held_out_row_is_raised_with_its_split(tmp_path):
    rows = [{"image": f"{n}.png", "text": "what?", "answers": "a"} for n in range(40)]
    held = int(DataFiles(lines(tmp_path, rows), holdout=0.3).split("val")[0].key)
    rows[held]["answers"] = [""]
    data = DataFiles(lines(tmp_path, rows), holdout=0.3)
    assert len(data.split("train")) > 20
    for _ in range(2):
        with pytest.raises(InputError, match=rf"jsonl:{held + 1}: an answer is empty"):
            data.split("val")
    assert len(check_dataset(data).problems) >= 1


# Large tables


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A table with images that counts as large and as old; returns its data, made anew at each call."""
    monkeypatch.setattr(sample_cache, "SMALLEST", 1)
    monkeypatch.setattr(digests, "_AT_REST", -1)
    table().to_parquet(tmp_path / "train.parquet")
    return lambda **options: DataFiles(tmp_path / "train.parquet", cache_dir=tmp_path / "cache", **options)


def splits(data):
    return [list(data.read(name)) for name in ("train", "val")]


def test_a_large_table_is_converted_once(large, walks):
    first = splits(large(holdout=0.5))
    before = len(walks)
    again = large(holdout=0.5)
    assert splits(again) == first
    assert len(walks) == before
    assert isinstance(again.split("train")[0].image, FilePart)
    assert pickle.loads(pickle.dumps(again.split("train"))) == again.split("train")
    assert all(first)


def test_a_kept_table_has_its_remarks(large):
    datas = [large(), large()]
    for data in datas:
        data.split("train")
    assert list(datas[0].remarks) == list(datas[1].remarks) != []


@pytest.mark.parametrize(
    "options", [{"holdout": 0.2}, {"columns": {"group": "question"}}, {"links": "follow"}], ids=str
)
def test_other_options_read_a_large_table_again(large, walks, options):
    splits(large(holdout=0.5))
    before = len(walks)
    splits(large(**{"holdout": 0.5} | options))
    assert len(walks) > before


def test_a_changed_table_is_read_again(large, tmp_path):
    before = splits(large(holdout=0))
    table().select(range(4)).to_parquet(tmp_path / "train.parquet")
    assert (len(before[0]), len(splits(large(holdout=0))[0])) == (8, 4)


@pytest.mark.parametrize("damage", ["index", "jsonl", "json", "arrow"])
def test_what_is_damaged_in_the_cache_is_read_again(large, tmp_path, damage):
    before = splits(large(holdout=0))
    for file in (tmp_path / "cache").rglob(f"*.{damage}"):
        file.write_bytes(b"12345678") if damage != "arrow" else file.unlink()
    assert splits(large(holdout=0)) == before


def test_a_damaged_cache_is_written_again(large, tmp_path, walks):
    before = splits(large(holdout=0))
    (file,) = (tmp_path / "cache").rglob("train.jsonl")
    file.write_bytes(file.read_bytes().replace(b"red", b"rod"))
    assert splits(large(holdout=0)) == before
    count = len(walks)
    assert splits(large(holdout=0)) == before
    assert len(walks) == count


def test_samples_are_read_again_if_the_copy_of_their_images_differs(large, tmp_path, walks):
    before = splits(large(holdout=0))
    (copy,) = (tmp_path / "cache" / "tables").glob("*.arrow")
    os.utime(copy, (1, 1))
    count = len(walks)
    assert splits(large(holdout=0)) == before
    assert len(walks) > count


def test_changed_code_reads_a_large_table_again(large, monkeypatch, tmp_path, walks):
    splits(large(holdout=0))
    count = len(walks)
    monkeypatch.setattr(sample_cache, "_code_of", lambda kind: "another")
    splits(large(holdout=0))
    assert len(walks) > count


def test_a_dataset_of_a_notebook_is_read(large, tmp_path):
    kind = type("Mine", (DataFiles,), {"__module__": "a_notebook"})
    data = kind(tmp_path / "train.parquet", cache_dir=tmp_path / "cache", holdout=0)
    assert len(data.split("train")) == len(large(holdout=0).split("train"))


def test_a_copy_for_another_process_maps_the_same_file(large, tmp_path):
    splits(large(holdout=0))
    samples = large(holdout=0).split("train")
    assert pickle.loads(pickle.dumps(samples)).lines.filename == samples.lines.filename


def test_a_table_that_was_just_changed_is_not_kept(large, monkeypatch, tmp_path):
    monkeypatch.setattr(digests, "_AT_REST", 3600)
    splits(large())
    assert not list((tmp_path / "cache" / "samples").glob("*"))


def test_a_saved_table_is_kept(large, tmp_path, walks):
    table().save_to_disk(tmp_path / "saved")
    datas = [DataFiles(tmp_path / "saved", cache_dir=tmp_path / "cache", holdout=0) for _ in range(2)]
    first = list(datas[0].read("train"))
    count = len(walks)
    assert list(datas[1].read("train")) == first
    assert len(walks) == count


def test_a_table_that_names_files_is_not_kept(large, tmp_path):
    photos(tmp_path / "photos")
    data = DataFiles(tmp_path / "photos", cache_dir=tmp_path / "cache", holdout=0)
    assert isinstance(data.split("test")[0].image, Path)
    assert not list((tmp_path / "cache").rglob("*.index"))


def test_a_cache_folder_that_cannot_be_written_is_ignored(large, tmp_path):
    data = large(holdout=0)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "samples").write_text("a file")
    assert len(data.split("train")) == 8

"""A check finds a planted fault in every format, and states what it found in the files."""

import io
import json
import tarfile

import numpy as np
import pandas
import pytest
from helpers.formats import photos, png, rows, table
from PIL import Image

from velm_lightning.data import DataFiles
from velm_lightning.data.checks.check import check_dataset


def checked(path=None, **options):
    report = check_dataset(DataFiles(path, **{"holdout": 0} | options), progress=False)
    return [problem.message for problem in report.problems], report.notes


def cut(content):
    return content[: len(content) // 2]


def in_parquet(folder):
    content = rows()
    content[5]["image"]["bytes"] = cut(content[5]["image"]["bytes"])
    pandas.DataFrame(content).to_parquet(folder / "train.parquet")
    return folder / "train.parquet", "train.parquet: row 5: "


def in_a_saved_table(folder):
    content = rows()
    content[5]["image"]["bytes"] = b"no image"
    table().from_list(content).save_to_disk(folder / "saved")
    return folder / "saved", "5.png: is not a JPEG, PNG"


def in_a_shard(folder):
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name, content in (("a.png", png("red")), ("a.cls", b"1"), ("b.png", cut(png("red"))), ("b.cls", b"2")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return folder / "a.tar", "a.tar: sample 'b': "


def in_classes(folder):
    for name in ("red", "blue"):
        (folder / "photos" / name).mkdir(parents=True)
        (folder / "photos" / name / f"{name}.png").write_bytes(png(name))
    (folder / "photos/red/link.png").symlink_to(photos(folder / "elsewhere") / "1.png")
    return folder / "photos", "leads out of"


def in_metadata(folder):
    lines = [f"{n}.png,{row['answer']}" for n, row in enumerate(rows(9))]
    photos(folder / "photos").joinpath("metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    return folder / "photos", "metadata.csv:10: "


def in_a_table(folder):
    photos(folder)
    (folder / "t.csv").write_text("image;label\n0.png;red\n1.png;\"['red', 'blue'\"\n2.png;red;blue\n")
    return folder / "t.csv", "t.csv:3: label is "


@pytest.mark.parametrize("plant", [in_parquet, in_a_saved_table, in_a_shard, in_classes, in_metadata, in_a_table])
def test_a_planted_fault_is_found(tmp_path, plant):
    path, message = plant(tmp_path)
    problems, _ = checked(path)
    assert any(message in problem for problem in problems), problems
    assert len(problems) == (2 if plant is in_a_table else 1), problems


def test_what_was_found_is_stated(tmp_path):
    photos(tmp_path / "photos")
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "photos/0.png")
    (tmp_path / "photos/clip.mp4").touch()
    lines = [f"{n % 7}.png,caption {n}" for n in range(14)]
    (tmp_path / "captions.txt").write_text("\n".join(["file_name,caption", *lines]))
    problems, notes = checked(val=tmp_path / "captions.txt", images=tmp_path / "photos")
    assert not problems
    for part in (
        "image is read from the column 'file_name'",
        "target is read from the column 'caption'",
        "14 rows of val are 7 samples",
        "1 images have more than 8 bits per value",
        "1 images below",
        "have formats that are not read: 1 .mp4",
    ):
        assert any(part in note for note in notes), (part, notes)


def test_a_table_without_labels_is_noted(tmp_path):
    photos(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps({"image": "0.png", "text": "a red square"}))
    _, notes = checked(tmp_path / "a.jsonl")
    assert any("set columns: {target: text, text: null}" in note for note in notes)

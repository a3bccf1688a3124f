"""Data folders of strangers: damaged tables, archives and indices end in a sentence, and lead nowhere else."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from velm_lightning.cli.start.pictures import shorter_side
from velm_lightning.data.datasets.readers import arrow, image_folder, saved, webdataset
from velm_lightning.data.datasets.readers.reading import Reading, counted
from velm_lightning.data.images import folder as image_files
from velm_lightning.data.images.header import header_of
from velm_lightning.data.stored.imported import ImportedData
from velm_lightning.io.digests import digest_of
from velm_lightning.types import InputError


@pytest.fixture
def reading(tmp_path):
    return Reading(tmp_path / "cache")


def test_a_pipe_with_the_name_of_an_image_is_not_waited_for(tmp_path):
    path = tmp_path / "a.png"
    os.mkfifo(path)
    assert header_of(path) is None
    assert shorter_side([path]) == 0
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(it is a pipe or device"):
        digest_of(path)


def test_the_header_of_a_format_that_is_not_read_is_not_read(tmp_path):
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    assert header_of(tmp_path / "a.png") is None


def table(path, kind, count, *buffers):
    """Write an Arrow file whose column has these raw buffers."""
    pyarrow = pytest.importorskip("pyarrow")
    kind = getattr(pyarrow, kind[0])(*kind[1:])
    parts = [None, *(pyarrow.py_buffer(np.array(part).tobytes()) for part in buffers)]
    column = pyarrow.Array.from_buffers(kind, count, parts)
    schema = pyarrow.schema([("image", kind)])
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, schema) as writer:
        writer.write_batch(pyarrow.RecordBatch.from_arrays([column], schema=schema))
    return path


@pytest.mark.parametrize(
    ("kind", "count", "buffers"),
    [
        (("binary",), 2, (np.int32([0, 2**30, 5]), b"x" * 64)),
        (("binary",), 2, (np.int32([0, -50, 5]), b"x" * 64)),
        (("string",), 2, (np.int32([0, 2**30, 5]), b"x" * 64)),
        (("string",), 1, (np.int32([0, 2]), b"\xff\xfe")),
        (("timestamp", "us"), 1, (np.int64([2**62]),)),
        (("timestamp", "us", "Nowhere/Evil"), 1, (np.int64([2]),)),
        (("date32",), 1, (np.int32([2**31 - 1]),)),
    ],
    ids=["beyond the file", "backwards", "text beyond", "not UTF-8", "year 148,000", "time zone", "date"],
)
def test_a_damaged_arrow_table_is_refused(tmp_path, reading, kind, count, buffers):
    path = table(tmp_path / "a.arrow", kind, count, *buffers)
    with pytest.raises(InputError, match=r"a\.arrow: not an Arrow table that can be read"):
        list(arrow.rows(path, reading))


def header(name, size=0, kind=None):
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    block[156:157] = kind or block[156:157]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


@pytest.mark.parametrize(
    "content",
    [header("a.txt", -512) + bytes(1024), header("a.txt", -1024) + bytes(1024), header("a", 0, b"L") * 5000],
    ids=["the same header again", "before the file", "a name within a name"],
)
def test_a_damaged_archive_ends(tmp_path, reading, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tar: not a whole tar archive"):
        list(webdataset.rows(tmp_path / "a.tar", reading))


@pytest.mark.parametrize("name", ["../other/train", "/etc", "a\0b", "..", 7])
def test_splits_of_a_saved_table_are_in_its_folder(tmp_path, name):
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(InputError):
        saved.split_names(tmp_path)


def test_a_range_of_very_long_numbers_is_a_name():
    text = "{" + "0" * 5000 + "..9}.tar"
    assert counted(text) == [text]


def test_tables_are_not_searched_in_virtual_file_systems(tmp_path, reading, monkeypatch):
    (tmp_path / "data" / "proc").mkdir(parents=True)
    (tmp_path / "data" / "proc" / "metadata.csv").write_text("file_name\na.png\n")
    (tmp_path / "mounts").write_text(f"proc {tmp_path / 'data' / 'proc'} proc rw 0 0\n")
    monkeypatch.setattr(image_files, "_MOUNTS", tmp_path / "mounts")
    with pytest.raises(InputError, match="holds no images and no table"):
        list(image_folder.rows(tmp_path / "data", reading))


IMAGE, FRAMES = ["a.tar", 0, 1, ""], [["a.tar", 0, 1, ""]]


def stored(folder, line, ends=None):
    (folder / "velm_data.json").write_text(json.dumps({"format": 1}))
    text = json.dumps(line).encode() + b"\n"
    (folder / "train.jsonl").write_bytes(text)
    np.array([len(text)] if ends is None else [*ends, len(text)], "<i8").tofile(folder / "train.index")
    return ImportedData(folder)


@pytest.mark.parametrize(
    "line",
    [
        [["k"], IMAGE, "", None, [], ""],
        ["k", IMAGE, {}, None, [], ""],
        ["k", IMAGE, "", None, [1], ""],
        ["k", IMAGE, "", None, [], None],
        ["k", IMAGE, "", 7, [], ""],
        ["k", IMAGE, "", {"a": "b"}, [], ""],
        ["k", ["a.tar", "0", 1, ""], "", None, [], ""],
        ["k", ["a.tar", -1, 1, ""], "", None, [], ""],
        ["k", ["a.tar", 0, -1, ""], "", None, [], ""],
        ["k", ["a.tar", 0, 1.5, ""], "", None, [], ""],
        ["k", ["a.tar", 0, 1, 2], "", None, [], ""],
        ["k", ["../a.tar", 0, 1, ""], "", None, [], ""],
        ["k", None, "", None, [], ""],
        ["k", {}, "", None, [], ""],
    ],
    ids=range(14),
)
def test_a_stored_sample_of_other_types_is_refused(tmp_path, line):
    with pytest.raises(InputError):
        stored(tmp_path, line).split("train")[0]


def test_an_index_that_counts_beyond_its_range_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not fit its index"):
        stored(tmp_path, ["k", IMAGE, "", None, [], ""], [2**63 - 1, -(2**63), -5]).split("train")


def test_whole_stored_samples_are_read(tmp_path):
    (tmp_path / "a.tar").touch()
    sample = stored(tmp_path, ["k", FRAMES, "q", {"a": 1}, ["a"], "g"]).split("train")[0]
    assert (sample.key, sample.target, sample.references) == ("k", {"a": 1.0}, ("a",))
    assert header_of(torch.zeros(3, 4, 5)) is not None
    assert Path(str(sample.image[0].file)).name == "a.tar"

"""Datasets of the hub are named by ``organisation/name``, and loaded only if the network is allowed."""

import socket

import datasets
import huggingface_hub
import pytest
from helpers.formats import COLOURS, table

from velm_lightning.cli import data as command
from velm_lightning.cli.start.words import complete
from velm_lightning.data import DataFiles
from velm_lightning.io.allow.allowlist import permissions
from velm_lightning.io.paths import is_hub_name
from velm_lightning.types import FilePart, InputError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one dataset, as `load_dataset` returns it from its cache; lists what was asked for."""
    asked = []
    for split, count in (("train", 8), ("validation", 3), ("extra", 2)):
        table(count).save_to_disk(tmp_path / "cache" / split)

    def load(name, configuration=None):
        asked.append((name, configuration))
        splits = ("train", "validation", "extra")
        return datasets.DatasetDict({split: datasets.load_from_disk(tmp_path / "cache" / split) for split in splits})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, name, timeout: asked.append(name))
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_dataset_of_the_hub_is_read_from_its_cache(hub, tmp_path):
    data = DataFiles("colours/squares:small")
    assert [len(data.split(split)) for split in ("train", "val", "test")] == [8, 3, 0]
    sample = data.split("val")[2]
    assert sample.target == {COLOURS[2]: 1.0}
    assert isinstance(sample.image, FilePart)
    assert sample.image.file.is_relative_to(tmp_path / "cache")
    assert hub == ["colours/squares", ("colours/squares", "small")]


def test_nothing_is_asked_without_permission(hub):
    with permissions(["fit"]), pytest.raises(InputError, match=r"colours/squares is no file .* --allow-network"):
        DataFiles("colours/squares")
    assert hub == []


def test_without_a_network_one_sentence_says_so(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(InputError) as caught:
        DataFiles("colours/squares")
    assert str(caught.value).startswith("colours/squares: no file here, and no dataset of the hub")
    assert "\n" not in str(caught.value)


def test_splits_of_other_names_are_refused(hub, monkeypatch, tmp_path):
    only = datasets.DatasetDict({"part": datasets.load_from_disk(tmp_path / "cache/extra")})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: only)
    with pytest.raises(InputError, match=r"has the splits \['part'\]: download it"):
        DataFiles("colours/squares")


def test_files_and_folders_are_no_names_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    assert is_hub_name("lmms-lab/DocVQA")
    assert is_hub_name("org/name.v2:default")
    for name in ("photos/train", "data/train.csv", "train.parquet", "a/b/c", "../a", "~/a", "s3://a/b", "org/*.tar"):
        assert not is_hub_name(name), name


def test_the_command_line_takes_such_a_name(hub, capsys):
    assert "--data.dataset.init_args.path=colours/squares" in complete(["fit", "--data", "colours/squares"])
    assert "--data.dataset.init_args.path=colours/squares" in complete(["test", "--data", "colours/squares"])
    assert command.main(["data", "check", "colours/squares"]) == 1
    assert "3 images of val are also in train" in capsys.readouterr().out

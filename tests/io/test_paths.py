"""``~`` is the home folder in options and configs, whatever the shell does."""

import json
from pathlib import Path

import pytest
from helpers.run_folders import run

from velm_lightning.cli.commands import main
from velm_lightning.cli.data.load import data_of
from velm_lightning.io.paths import user_path


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def test_the_home_folder_is_expanded_at_the_start_only(home):
    assert user_path("~/a") == home / "a"
    assert user_path("a/~") == Path("a/~")
    assert user_path("~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")


def test_compare_reads_and_writes_below_home(home, capsys):
    run(home / "runs", "LateFusion")
    assert main(["compare", "~/runs", "--csv=~/out/runs.csv"]) == 0
    assert (home / "out" / "runs.csv").is_file()
    assert not list(Path().iterdir())


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_paths_in_a_config_may_name_the_home_folder(home):
    (home / "train.jsonl").write_text(json.dumps({"text": "what?", "answers": "a"}) + "\n")
    dataset = {"class_path": "JSONLines", "init_args": {"root": "~", "train": "train.jsonl"}}
    Path("run.yaml").write_text(json.dumps({"data": {"dataset": dataset, "cache_dir": "~/cache"}}))
    data = data_of(Path("run.yaml"))
    assert data.cache_dir == home / "cache"
    assert data.dataset.root == home

"""``velm init`` on tables of strangers: a config that is read as it was meant, or one sentence."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from velm_lightning.cli.commands import main
from velm_lightning.cli.start.weights import Weights
from velm_lightning.io.console import printable
from velm_lightning.io.yaml_files import read_yaml

ROWS = [(f"{number}.png", f"a long caption of thing number {number}") for number in range(6)]


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    """Six photos in a folder next to the table, and no weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("velm_lightning.cli.init.find_weights", lambda: Weights(image=False, text=False))
    (tmp_path / "photos").mkdir()
    for name, _ in ROWS:
        Image.new("RGB", (40, 30)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def lines(caption="caption", rows=ROWS, image="image"):
    """JSON lines, in which any name and text can be written."""
    return "".join(json.dumps({image: name, caption: text}) + "\n" for name, text in rows)


def init(capsys, content, file="mine.jsonl", *words):
    """Call ``velm init``; return the exit code, what is printed, and the written config."""
    Path(file).write_text(content)
    capsys.readouterr()
    code = main(["init", file, *words])
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert err.count("\n") == (code != 0)
    config = Path(f"{Path(file).stem}.yaml")
    return code, out + err, read_yaml(config) if config.is_file() else None


NAMES = ["1e5", "null", "true", "!!python/object:os.system", "[a]", "{a: b}", "=cmd|' /C calc'!A0", "\x1b[2J", "../x"]
NAMES += ["- a", "a\nmodel: b", "\x85", "\x00", "2024-01-01", "0x1f", "1:30", "'", '"', "#", "&a", "*a", "<<", "~"]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_any_name_is_read_back_by_that_name(capsys, name):
    code, _, config = init(capsys, lines(caption=name))
    assert code == 0
    assert config["data"]["dataset"]["init_args"]["columns"] == {"target": name, "text": None}
    assert list(config) == ["data", "model", "trainer", "early_stopping", "tracking"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lines(caption="a\ud800"), "'a\\ud800' is not Unicode, which YAML cannot hold"),
        (lines(rows=[("[" * 100_000, text) for _, text in ROWS]), "no column names files"),
        (lines(rows=[(f"\ud800{name}", text) for name, text in ROWS]), "no column names files"),
        (lines(rows=[("x" * 5000, text) for _, text in ROWS]), "no column names files"),
        (lines(rows=[("../../../../../../../../etc/passwd", text) for _, text in ROWS]), "no column names files"),
        (lines(rows=[(f"https://example.org/{name}", text) for name, text in ROWS]), "no column names files"),
        ('{"image": ' + "[" * 100_000, "JSON that cannot be read"),
        ('{"image": "0.png", "label": ' + "9" * 5000 + "}", "JSON that cannot be read"),
    ],
)
def test_what_cannot_be_proposed_is_one_sentence(capsys, content, told):
    code, said, config = init(capsys, content)
    assert (code, config) == (2, None)
    assert told in said


def test_cells_that_look_like_deep_lists_are_texts(capsys):
    code, said, _ = init(capsys, lines("answer", [(name, "[" * 100_000) for name, _ in ROWS]))
    assert (code, "task: classification" in said) == (0, True)


@pytest.mark.parametrize(
    "name", ["a\nmodel: b #.jsonl", "$(touch owned).jsonl", "two words.jsonl", "-x.jsonl", "a\x07.jsonl"]
)
def test_the_name_of_a_table_is_neither_yaml_nor_shell(capsys, name):
    code, said, config = init(capsys, lines(), f"./{name}")
    assert code == 0
    assert list(config) == ["data", "model", "trainer", "early_stopping", "tracking"]
    command = said.partition("next:\n")[2].rpartition("  velm fit")[0]
    assert shlex.split(command) == ["velm", "data", "check", printable(name.replace(".jsonl", ".yaml"))]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python 3.14 sees no suffix in this name")
def test_a_table_whose_experiment_is_no_folder_is_refused(capsys):
    code, said, config = init(capsys, lines(), "..jsonl")
    assert (code, config) == (2, None)
    assert "the experiment would be named '.'" in said


def test_names_that_lead_elsewhere_are_said_with_the_option(capsys, photos, tmp_path):
    (tmp_path / "real").mkdir()
    for name, _ in ROWS:
        (photos / name).rename(tmp_path / "real" / name)
        (photos / name).symlink_to(tmp_path / "real" / name)
    code, said, config = init(capsys, lines(), "mine.jsonl", "--images", "photos")
    assert code == 0
    assert "'0.png' leads out of photos by a link" in said
    assert "or write `links: follow` next to `images` if you trust the table" in said
    assert "links" not in config["data"]["dataset"]["init_args"]
    absolute = [(str(tmp_path / "real" / name), text) for name, text in ROWS]
    _, said, config = init(capsys, lines(rows=absolute), "other.jsonl")
    assert "is an absolute file name" in said
    assert "or write `absolute_names: true` next to `images` if you trust the table" in said
    assert "absolute_names" not in config["data"]["dataset"]["init_args"]


@pytest.mark.parametrize("name", ["", "../x.png", "x" * 300])
def test_names_that_no_option_accepts_are_said_without_one(capsys, name):
    _, said, _ = init(capsys, lines(rows=[*ROWS, (name, "a caption of nothing")]), "mine.jsonl", "--images", "photos")
    assert f"images: '{name[:20]}" in said
    assert "next to `images`" not in said


def test_names_of_other_programs_are_found(capsys):
    rows = [(f" photos\\{name}", text) for name, text in ROWS]
    code, said, _ = init(capsys, lines(rows=rows), "mine.jsonl", "--images", ".")
    assert (code, "6 images" in said) == (0, True)


def test_pipes_with_the_names_of_images_are_not_opened(capsys, photos):
    for name, _ in ROWS:
        (photos / name).unlink()
        os.mkfifo(photos / name)
    assert "no column names files" in init(capsys, lines())[1]


def test_another_split_has_the_same_columns(capsys, tmp_path):
    (tmp_path / "val.csv").write_text("image,question,label\n0.png,what is it,cat\n1.png,what is it now,dog\n")
    code, said, config = init(capsys, lines(), "mine.jsonl", "--val", "val.csv")
    assert (code, config) == (2, None)
    assert "val.csv: has no column 'caption', only image, question, label: name its columns as in" in said


def test_a_table_larger_than_memory_is_one_sentence(capsys, tmp_path):
    (tmp_path / "hole.csv").touch()
    os.truncate(tmp_path / "hole.csv", 2**43)  # it has a hole, and takes no space
    assert main(["init", "hole.csv"]) == 2
    assert "hole.csv: cannot be read (it is larger than the memory)" in capsys.readouterr().err

"""A config from elsewhere cannot make code of its own run: its package is refused before it is imported."""

import sys

import pytest

from velm_lightning.cli.config_guard import check_configs
from velm_lightning.types import InputError


@pytest.fixture
def harmful(monkeypatch, tmp_path):
    """A module that leaves a mark where it is imported."""
    (tmp_path / "harmful.py").write_text("from pathlib import Path\nPath(__file__).with_name('mark').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "harmful", raising=False)
    return tmp_path / "mark"


@pytest.mark.parametrize(
    "text",
    [
        "model:\n  class_path: harmful.Fusion\n",
        "model: harmful.Fusion\n",
        "model:\n  init_args:\n    image_encoder: {class_path: harmful.Encoder}\n",
        "trainer:\n  callbacks:\n  - class_path: harmful.Callback\n",
        "trainer:\n  callbacks: [harmful.Callback]\n",
        "data: part.yaml\n",
        "allow: harmful\nmodel: harmful.Fusion\n",
        "model:\n  class_path: os.system\n",
    ],
)
def test_a_config_may_not_name_foreign_code(harmful, here, capsys, tmp_path, text):
    (tmp_path / "part.yaml").write_text("dataset:\n  class_path: harmful.Data\n")
    (tmp_path / "theirs.yaml").write_text(text)
    assert here("fit", "--config", "theirs.yaml") == 2
    message = capsys.readouterr().err
    assert "names code outside the allowed packages, which was not imported: add --allow" in message
    assert not harmful.exists()


@pytest.mark.parametrize("words", [["--data", "theirs.yaml"], ["--model=theirs.yaml"], ["--config=outer.yaml"]])
def test_nor_may_a_file_for_a_part_of_it_whatever_its_name(harmful, here, capsys, tmp_path, words):
    (tmp_path / "theirs.yaml").write_text("class_path: harmful.Fusion\n")
    (tmp_path / "theirs.part").write_text("class_path: harmful.Fusion\n")
    (tmp_path / "outer.yaml").write_text("model: theirs.part\n")
    assert here("fit", *words) == 2
    assert "names code outside the allowed packages, which was not imported" in capsys.readouterr().err
    assert not harmful.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"data: [1\n", "theirs.yaml:2: not YAML at column 1"),
        (b"a: 1\nb: \xfc\n", "theirs.yaml:2: byte 0xfc is not UTF-8"),
        (b"a: 2020-13-45\n", "theirs.yaml: cannot be read as a config (month must be"),
        (b"[" * 1500, "theirs.yaml: cannot be read as a config (maximum recursion"),
    ],
)
def test_a_config_that_is_no_config_is_named_with_its_line(here, capsys, tmp_path, content, told):
    (tmp_path / "theirs.yaml").write_bytes(content)
    assert here("fit", "--config", "theirs.yaml") == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1


def test_what_is_allowed_passes(harmful, tmp_path):
    path = tmp_path / "theirs.yaml"
    path.write_text("model: harmful.Fusion\n")
    with pytest.raises(InputError, match=r"theirs\.yaml: model: harmful\.Fusion"):
        check_configs(["fit", f"--config={path}", "--allow=other"])
    check_configs(["fit", "--config", str(path), "--allow", "other,harmful"])


def test_the_names_of_files_are_no_code(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "data:\n  dataset:\n    init_args: {train: train.jsonl, test: test.jsonl, images: photos.2014, root: a.b/c}\n"
    )
    check_configs(["fit", "--config", str(path)])


def test_own_and_well_known_packages_need_no_word(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a:\n- class_path: torchvision.transforms.v2.RandomGrayscale\n- class_path: LateFusion\n")
    check_configs(["fit", "--config", str(path)])
    check_configs(["fit", "--config", "nowhere.yaml"])

"""``velm new`` writes an extension that runs, with its YAML and its test."""

import subprocess
import sys

import pytest

from velm_lightning.cli.commands import main
from velm_lightning.cli.new import KINDS, names
from velm_lightning.types import InputError


@pytest.mark.parametrize(
    ("name", "module", "class_name"),
    [
        ("MyFusion", "my_fusion", "MyFusion"),
        ("FiLMFusion", "film_fusion", "FiLMFusion"),
        ("HTTPReader", "http_reader", "HTTPReader"),
        ("gated_fusion", "gated_fusion", "GatedFusion"),
    ],
)
def test_module_and_class_follow_from_the_name(name, module, class_name):
    assert names(name) == (module, class_name)


@pytest.mark.parametrize("name", ["my-fusion", "class", "../x", ""])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(InputError, match="not a class name"):
        names(name)


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_is_overwritten(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", kind, "FiLMThing"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "film_thing.py",
        "film_thing.yaml",
        "test_film_thing.py",
    ]
    assert not any(word in path.read_text() for path in tmp_path.iterdir() for word in (f"my_{kind}", "class My"))
    (tmp_path / "film_thing.py").write_text("mine")
    (tmp_path / "test_film_thing.py").unlink()
    assert main(["new", kind, "FiLMThing"]) == 2
    assert "film_thing.py exists" in capsys.readouterr().err
    assert (tmp_path / "film_thing.py").read_text() == "mine"
    assert not (tmp_path / "test_film_thing.py").exists()


@pytest.mark.slow
def test_every_template_passes_its_own_test(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        main(["new", kind, f"Own{kind.capitalize()}"])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "11 passed" in result.stdout

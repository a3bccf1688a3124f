"""``velm new`` writes an extension that runs, with its YAML and its test."""

import subprocess
import sys

import pytest
from helpers.command_line import CONF, FEW, SMALL
from PIL import Image

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


@pytest.mark.parametrize(("found", "command"), [(True, "pytest"), (None, "pip install pytest && pytest")])
def test_the_command_of_the_test_installs_what_it_needs(tmp_path, monkeypatch, capsys, found, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("velm_lightning.cli.new.find_spec", lambda name: found)
    assert main(["new", "fusion", "Mine"]) == 0
    assert f"test it: {command} test_mine.py\n" in capsys.readouterr().out


@pytest.mark.slow
def test_every_template_passes_its_own_test(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        main(["new", kind, f"Own{kind.capitalize()}"])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "11 passed" in result.stdout


SCENES, IMAGES, TEXTS = [SMALL[0], *FEW], SMALL[1:3], SMALL[3:]
PARTS = {"fusion": SCENES + IMAGES, "task": SCENES + IMAGES, "dataset": IMAGES, "encoder": SCENES}
SHORT = [*TEXTS, "--trainer.max_epochs=1", "--data.batch_size=4", "--tracking.wandb=disabled", "--tracking.pictures=2"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_template_goes_through_every_command(kind, here, tmp_path, capsys, monkeypatch):
    """It is allowed once; no later command says it again."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    for name in ("train/red", "train/blue", "val/red", "test/blue"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (16, 16), name.partition("/")[2]).save(tmp_path / "data" / name / f"{number}.png")
    module = f"own_{kind}"
    option = "--data" if kind == "dataset" else "--config"
    fit = ["fit", "--config", CONF / "vqa.yaml", option, f"{module}.yaml", *PARTS[kind], *SHORT]
    commands = [["new", kind, module], ["allow", module], [*fit, f"--tracking.experiment={kind}"]]
    commands += [["ask", "latest", "--random"], ["verify", "latest"], ["test", "latest", "--tracking.wandb=disabled"]]
    commands += [["predict", "latest"], ["compare", f"runs/{kind}"]]
    for words in commands:
        assert here(*words) == 0, (words, capsys.readouterr().err)
    sys.modules.pop(module, None)

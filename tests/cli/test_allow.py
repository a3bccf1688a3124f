"""A class of the user's own: refused with the command that allows it, allowed once, and used by later commands."""

import shlex
import sys

import pytest
import torch
from helpers import tiny
from PIL import Image

from velm_lightning.checkpoints import checkpoint

CODE = "from velm_lightning.fusion import LateFusion\nclass FiLMFusion(LateFusion):\n    pass\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A checkpoint of ``my_fusion.FiLMFusion``, next to the module, and a list of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_fusion.py").write_text(CODE)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    content = {"state_dict": (model := tiny.fusion()).state_dict()}
    checkpoint.pack(model, content)
    content["velm"]["model"]["class_path"] = "my_fusion.FiLMFusion"
    torch.save(content, tmp_path / "my best.ckpt")
    yield tmp_path
    sys.modules.pop("my_fusion", None)


def test_the_refused_command_is_answered_with_the_right_one(run, here, capsys):
    words = ["ask", "my best.ckpt", "--image", "a.png", "--text", "what is it?"]
    assert here(*words) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(
        "velm: error: checkpoint my best.ckpt: my_fusion.FiLMFusion is code outside the allowed packages, which was "
        "not imported: if you trust it, run `"
    )
    assert "my_fusion" not in sys.modules
    corrected = shlex.split(told.split("`")[1])
    assert corrected == ["velm", *words, "--allow", "my_fusion"]
    assert here(*corrected[1:]) == 0


def test_a_module_that_was_allowed_once_needs_no_word(run, here, capsys):
    assert here("allow", "my_fusion") == 0
    assert f"allowed: my_fusion in {run} (SHA-256 " in capsys.readouterr().out
    assert here("ask", "my best.ckpt", "--image", "a.png") == 0
    sys.modules.pop("my_fusion")
    (run / "my_fusion.py").write_text(CODE + "print('changed')\n")
    capsys.readouterr()
    assert here("ask", "my best.ckpt", "--image", "a.png") == 2
    assert f"my_fusion in {run} is no longer as you allowed it, and was not imported" in capsys.readouterr().err


def test_the_list_is_shown_and_entries_are_removed(run, here, capsys):
    assert here("allow") == 0
    assert "allowed.json allows nothing yet" in capsys.readouterr().out
    assert here("allow", "my_fusion") == here("allow") == 0
    assert capsys.readouterr().out.count("my_fusion in ") == 2
    assert here("allow", "my_fusion", "--remove") == 0
    assert capsys.readouterr().out == "my_fusion: removed\n"
    assert here("ask", "my best.ckpt", "--image", "a.png") == 2


@pytest.mark.parametrize("name", ["nowhere", "my_fusion.py", "./my_fusion"])
def test_what_is_no_module_is_refused(run, here, capsys, name):
    assert here("allow", name) == 2
    assert f"velm allow {name}: " in capsys.readouterr().err

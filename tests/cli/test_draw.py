"""``velm draw`` writes pictures of a caption, and refuses models and options that it cannot use."""

import pytest
import torch
from helpers import tiny
from PIL import Image

from velm_lightning.checkpoints import checkpoint
from velm_lightning.encoders import Patches
from velm_lightning.fusion import EarlyFusion
from velm_lightning.tasks import Drawing
from velm_lightning.tasks.scene_judge import SceneJudge


def saved(model, path):
    content = {"state_dict": model.state_dict()}
    checkpoint.pack(model, content)
    torch.save(content, path)
    return path


@pytest.fixture
def path(tmp_path):
    task = Drawing(SceneJudge(size=tiny.SIZE), tiny.SIZE, 8)
    return saved(tiny.fusion(EarlyFusion, image_encoder=Patches(tiny.SIZE, 8), task=task), tmp_path / "model.ckpt")


def draw(here, path, out, *more):
    assert here("draw", path, "--text", "a red circle", "--out", out, *more) == 0
    return Image.open(out)


def test_pictures_are_side_by_side_and_depend_on_the_seed(here, path, tmp_path, capsys):
    four = draw(here, path, tmp_path / "four.png", "--count", "4", "--steps", "2")
    assert four.size == (4 * 128, 128)
    assert "4 x 'a red circle'" in capsys.readouterr().out
    again = draw(here, path, tmp_path / "again.png", "--count", "4", "--steps", "2")
    other = draw(here, path, tmp_path / "other.png", "--count", "4", "--steps", "2", "--seed", "1")
    assert four.tobytes() == again.tobytes() != other.tobytes()
    first = four.crop((0, 0, 128, 128))
    assert draw(here, path, tmp_path / "one.png", "--steps", "2").tobytes() == first.tobytes()
    assert len({four.crop((128 * i, 0, 128 * (i + 1), 128)).tobytes() for i in range(4)}) == 4


def test_guidance_changes_the_picture(here, path, tmp_path):
    pictures = [draw(here, path, tmp_path / f"{g}.png", "--guidance", g, "--steps", "3") for g in ("0", "9")]
    assert pictures[0].tobytes() != pictures[1].tobytes()


def test_unusable_models_and_options_are_refused(here, path, tmp_path, capsys):
    out = tmp_path / "x.png"
    answers = saved(tiny.fusion(), tmp_path / "answers.ckpt")
    for words, message in (
        ((answers,), "the checkpoint's task is Classification, expected Drawing"),
        ((path, "--count", "0"), "--count must be at least 1, got 0"),
        ((path, "--steps", "0"), "--steps must be at least 1, got 0"),
        ((path, "--guidance", "nan"), "--guidance must be a finite number, got nan"),
        ((tmp_path / "none.ckpt",), "does not exist"),
    ):
        assert here("draw", *words, "--text", "a red circle", "--out", out) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()

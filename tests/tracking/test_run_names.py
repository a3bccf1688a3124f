"""A run is found by folder, id, checkpoint or ``latest``, by code that loads no torch."""

import json

import pytest

from velm_lightning.errors import InputError
from velm_lightning.tracking.run_names import find_checkpoint, find_run


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two experiments with three runs; the oldest folder is the one that was started last."""
    monkeypatch.chdir(tmp_path)
    for name, started in (("vqa/late-s0-aaa111", "2026-03"), ("vqa/late-s1-bbb222", "2026-01"), ("cap/x-1", "2026-02")):
        folder = tmp_path / "runs" / name
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"started": started, "status": "finished"}))
        (folder / "checkpoints" / "best.ckpt").touch()
    return tmp_path / "runs"


@pytest.mark.parametrize(
    "name",
    [
        "runs/vqa/late-s0-aaa111",
        "runs/vqa/late-s0-aaa111/",
        "runs/vqa/late-s0-aaa111/config.yaml",
        "runs/vqa/late-s0-aaa111/checkpoints/best.ckpt",
        "late-s0-aaa111",
        "vqa/late-s0-aaa111",
        "aaa111",
        "latest",
        "vqa/latest",
    ],
)
def test_every_name_of_a_run_finds_its_folder(runs, name):
    (runs / "vqa/late-s0-aaa111/config.yaml").touch()
    assert find_run(name).resolve() == runs / "vqa/late-s0-aaa111"


def test_an_experiment_with_one_run_names_that_run(runs):
    assert find_run("runs/cap") == find_run("cap/latest")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("late-s", "2 runs in runs are named 'late-s', such as late-s0-aaa111, late-s1-bbb222: give the whole id"),
        ("late-s0-aaa112", "there is no run, folder or checkpoint 'late-s0-aaa112' here or in runs: did you mean"),
        ("runs/vqa", "runs/vqa holds 2 runs: name one, or vqa/latest"),
        ("other/latest", "other/latest: runs/other holds no runs"),
    ],
)
def test_what_names_no_single_run_is_refused(runs, name, said):
    with pytest.raises(InputError, match=f"^{said}"):
        find_run(name)


def test_the_best_checkpoint_is_used_else_the_last(runs):
    folder = runs / "vqa/late-s0-aaa111/checkpoints"
    assert find_checkpoint("latest").name == "best.ckpt"
    (folder / "best.ckpt").rename(folder / "last.ckpt")
    assert find_checkpoint("latest").name == "last.ckpt"
    (folder / "last.ckpt").unlink()
    with pytest.raises(InputError, match=r"aaa111 \(status 'finished'\) has no checkpoint"):
        find_checkpoint("latest")


def test_a_checkpoint_may_lie_outside_of_a_run(runs, tmp_path):
    (tmp_path / "kept.ckpt").touch()
    assert find_checkpoint("kept.ckpt").name == "kept.ckpt"
    with pytest.raises(InputError, match=r"checkpoint lost\.ckpt does not exist: \. has kept\.ckpt"):
        find_checkpoint("lost.ckpt")

"""No command runs what a stranger's file names, in a process of its own: the file that it would create is not there."""

import json

import pytest
import torch
from helpers.command_line import velm

from velm_lightning.checkpoints.checkpoint import FORMAT

pytestmark = pytest.mark.exhaustive  # a process per command
PAYLOAD = "{class_path: torch.os.system, init_args: {command: touch mark}}"
DATA = "data: {dataset: {class_path: ShapeScenes}, augment: [" + PAYLOAD + "]}\n"
MODEL = {"class_path": "harmful.Fusion", "init_args": {}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A stranger's folder: a module that leaves a mark, configs, a sweep file, and a run with a checkpoint."""
    folder = tmp_path_factory.mktemp("theirs")
    mark = "from pathlib import Path\nPath('mark').touch()\n"
    for name in ("harmful.py", "yaml.py", "torch.py"):  # the latter two hide libraries if they are found first
        (folder / name).write_text(mark)
    (folder / "theirs.yaml").write_text(DATA + "model: harmful.Fusion\n")
    command = json.dumps(["sh", "-c", "touch mark"])
    (folder / "sweep.yaml").write_text(f"method: grid\ncommand: {command}\nparameters: {{a: {{values: [1]}}}}\n")
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "predictions").mkdir()
    (run / "predictions" / "val.jsonl").touch()
    (run / "config.yaml").write_text(DATA + "model: {class_path: harmful.Fusion}\n")
    record = {"id": "x", "status": "finished", "scores": {"val": {"score": 1}}}
    (run / "run.json").write_text(json.dumps(record | {"model": {"init_args": {"task": MODEL}}}))
    content = {"velm": {"format": FORMAT, "model": MODEL}, "state_dict": {"w": torch.zeros(1)}}
    torch.save(content, run / "checkpoints" / "best.ckpt")
    (folder / "x.png").touch()
    (folder / "captions.json").write_text(json.dumps([{"image_id": 1, "caption": "a"}]))
    return folder


CHECKPOINT = "run/checkpoints/best.ckpt"
COMMANDS = {
    "fit": ["--config", "theirs.yaml"],
    "validate": ["--config", "run/config.yaml", "--ckpt_path", CHECKPOINT],
    "test": ["--config", "run/config.yaml", "--ckpt_path", "best"],
    "predict": ["--config", "theirs.yaml"],
    "data": ["check", "theirs.yaml"],
    "features": ["theirs.yaml"],
    "probe": ["run"],
    "ask": [CHECKPOINT, "--image", "x.png"],
    "draw": [CHECKPOINT, "--text", "a", "--out", "x.png"],
    "search": [CHECKPOINT, "--images", ".", "--text", "a"],
    "verify": ["run"],
    "compare": ["run"],
    "sweep": ["sweep.yaml", "--engine", "optuna"],
    "score": ["captions.json", "--references", "theirs.yaml"],
    "configs": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_what_a_file_names(folder, command):
    done = velm(command, *COMMANDS[command], cwd=folder)
    assert not (folder / "mark").exists()
    assert "Traceback" not in done.stderr
    if command not in ("compare", "score", "configs"):  # these resolve no names
        assert done.returncode == 2
        assert "if you trust it, run `velm" in done.stderr

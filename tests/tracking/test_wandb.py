"""The real W&B client against a local server, which receives the figures and files of the run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.command_line import CONF, FEW, SMALL, velm
from helpers.wandb_server import WandbServer, values, wandb

pytestmark = pytest.mark.slow
WORDS = [*FEW, *SMALL, "--data.batch_size=2", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=2"]
WORDS += ["--trainer.log_every_n_steps=1", "--tracking.pictures=2"]
FIT = ["fit", "--config", str(CONF / "vqa.yaml"), *WORDS]


@pytest.fixture
def server():
    server = WandbServer()
    yield server
    server.close()


def only(folder):
    (run,) = (folder / "runs" / "vqa").iterdir()
    return run, json.loads((run / "run.json").read_text())


def arrived(server, folder):
    """The data of the server equals the run's folder."""
    path, record = only(folder)
    run = server.runs[record["id"]]
    assert run["config"]["model"]["value"]["class_path"].endswith("InteractiveFusion")
    assert run["config"]["seed_everything"]["value"] == 0
    assert values(run, "val/score")[-1] == record["scores"]["val"]["score"]
    assert values(run, "test/score") == [record["scores"]["test"]["score"]]
    steps = len(values(run, "train/loss"))
    assert steps == record["steps"]
    assert any("predictions" in name and name.endswith(".table.json") for name in run["files"])
    for name in ("run.json", "config.yaml", "metrics.csv", "predictions/test.jsonl"):
        assert run["files"][f"{record['id']}/{name}"] == (path / name).read_bytes(), name


def test_a_run_is_uploaded_while_it_trains(server, tmp_path):
    done = velm(*FIT, cwd=tmp_path, **server.environment)
    assert done.returncode == 0, done.stderr
    arrived(server, tmp_path)


def test_two_processes_are_one_run_on_the_server(server, tmp_path):
    ddp = ["--config", str(CONF / "trainer" / "ddp_cpu.yaml"), "--data.batch_size=1"]
    done = velm(*FIT, *ddp, cwd=tmp_path, **server.environment)
    assert done.returncode == 0, done.stderr
    assert len(server.runs) == 1
    arrived(server, tmp_path)
    assert only(tmp_path)[1]["world_size"] == 2


def test_an_offline_run_is_synced_later(server, tmp_path):
    done = velm(*FIT, cwd=tmp_path, WANDB_MODE="offline")
    assert done.returncode == 0, done.stderr
    assert not server.runs
    (command,) = re.findall("W&B is recorded offline; later: (.*)", done.stdout)
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    variables = os.environ | server.environment | path
    subprocess.run(command, shell=True, cwd=tmp_path, env=variables, timeout=100, check=True)
    arrived(server, tmp_path)


def test_a_resumed_run_is_one_run_with_every_step_once(server, tmp_path):
    assert velm(*FIT, "--trainer.max_epochs=1", cwd=tmp_path, **server.environment).returncode == 0
    path, _ = only(tmp_path)
    more = ["--config", path / "config.yaml", "--trainer.max_epochs=2", "--ckpt_path=last"]
    more.append("--resume_schedule=stretch")
    done = velm("fit", *more, cwd=tmp_path, **server.environment)
    assert done.returncode == 0, done.stderr
    ((ident, run),) = server.runs.items()
    assert ident == path.name
    steps = [row["trainer/global_step"] for row in run["history"] if "train/loss" in row]
    assert len(steps) == json.loads((path / "run.json").read_text())["steps"]
    assert steps == sorted(set(steps))


def test_a_wandb_agent_runs_a_shipped_sweep_file(server, tmp_path):
    """The sweep file is unchanged except for a smaller model; the server sends one trial."""
    shutil.copytree(CONF, tmp_path / "conf")
    sweep = yaml.safe_load((CONF.parent / "sweeps" / "vqa_fusion.yaml").read_text())
    file = tmp_path / "vqa_fusion.yaml"
    script = Path(sys.executable).parent
    file.write_text(yaml.safe_dump(sweep | {"command": [*sweep["command"], *WORDS]}, sort_keys=False))
    environment = server.environment | {"PATH": f"{script}{os.pathsep}{os.environ['PATH']}"}
    made = wandb("sweep", "--project", "vqa", file, cwd=tmp_path, **environment)
    assert made.returncode == 0, made.stderr
    ((ident, config),) = server.sweeps.items()
    assert yaml.safe_load(config)["parameters"] == sweep["parameters"]
    args = {"seed_everything": 3, "model.class_path": "LateFusion", "tracking.experiment": "vqa_fusion"}
    job = {"type": "run", "run_id": "trial1", "program": "velm", "args": {key: {"value": args[key]} for key in args}}
    server.jobs = [job]
    agent = wandb("agent", f"me/p/{ident}", cwd=tmp_path, **environment)
    records = list((tmp_path / "runs" / "vqa_fusion").glob("*/run.json"))
    assert len(records) == 1, agent.stderr
    record = json.loads(records[0].read_text())
    assert (record["status"], record["seed"]) == ("finished", 3)
    assert record["model"]["class_path"].endswith("LateFusion")
    assert server.runs["trial1"]["sweep"] == ident
    assert values(server.runs["trial1"], "val/score")[-1] == record["scores"]["val"]["score"]

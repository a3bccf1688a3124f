"""``velm init`` writes a config that passes the check of its data and runs."""

import csv
import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from helpers.pictures import smooth

from velm_lightning.cli.commands import main
from velm_lightning.cli.start import recipe as recipes
from velm_lightning.cli.start.proposal import propose
from velm_lightning.errors import InputError

FLICKR = Path(__file__).resolve().parents[3] / "shared/data/flickr8k"
COLOURS = ["red", "green", "blue", "grey"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """24 photos of 160 x 120 pixels in a folder, the working folder next to it, and no weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "photos").mkdir()
    for number in range(24):
        photo = smooth(160, 120)
        photo.putpixel((number, 0), (number, 0, 0))  # a copy would be held out with its original
        photo.save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def table(path, columns, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def captions(path):
    rows = [(f"{n}.png", f"a dog runs over {COLOURS[n % 4]} grass with ball number {n}") for n in range(24)]
    return table(path, ["filename", "caption"], rows)


def questions(path):
    rows = [(n, f"{n}.png", f"what colour is thing {n}?", COLOURS[n % 4]) for n in range(24)]
    return table(path, ["question_id", "img", "question", "answer"], rows)


def labels(path):
    rows = [(f"{n}.png", "cat" if n else "dog") for n in range(24)]
    return table(path, ["file", "label"], rows)


def posts(path):
    rows = [(f"{n}.png", f"look at this {COLOURS[n % 4]} day number {n}", COLOURS[n % 3]) for n in range(24)]
    return table(path, ["image", "tweet", "sentiment"], rows)


@pytest.mark.parametrize(
    ("made", "task", "columns"),
    [
        (captions, "captioning", {"image": "filename", "target": "caption"}),
        (questions, "classification", {"image": "img", "text": "question", "answers": "answer", "key": "question_id"}),
        (labels, "classification", {"image": "file", "answers": "label"}),
        (posts, "classification", {"image": "image", "text": "tweet", "answers": "sentiment"}),
    ],
)
def test_columns_propose_the_task(photos, made, task, columns):
    proposal = propose(made(photos / "mine.csv"))
    assert (proposal.task, proposal.columns) == (task, columns)
    assert (proposal.rows, proposal.pictures, proposal.side, proposal.images) == (24, 24, 120, photos / "photos")


def test_columns_of_other_names_are_recognised_by_what_they_hold(photos):
    rows = [(f"{n}.png", f"this is a long sentence about thing {n}", COLOURS[n % 4]) for n in range(24)]
    proposal = propose(table(photos / "mine.csv", ["a", "b", "c"], rows))
    assert proposal.columns == {"image": "a", "text": "b", "answers": "c"}


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
@pytest.mark.parametrize("name", ["captions", "questions", "labels", "pairs"])
def test_the_written_config_passes_the_check_and_runs(photos, here, capsys, monkeypatch, name):
    monkeypatch.setattr(recipes, "STEPS", 8)
    made = {"captions": captions, "questions": questions, "labels": labels, "pairs": captions}
    made[name](photos / "mine.csv")
    task = ["--task", "retrieval"] if name == "pairs" else []
    assert here("init", "mine.csv", "--images", "photos", *task) == 0
    told = capsys.readouterr().out
    assert "next:\n  velm data check mine.yaml\n  velm fit mine.yaml\n" in told
    assert "a small CNN from scratch at 96 px, because torchvision's weights cannot be had" in told
    assert here("data", "check", "mine.yaml") == 0
    words = ["--trainer.fast_dev_run=true", "--tracking.wandb=off", "--trainer.accelerator=cpu"]
    assert here("fit", "mine.yaml", *words) == 0


@pytest.mark.skipif(not FLICKR.is_dir(), reason="no shared data")
def test_a_table_of_real_photos_becomes_a_run(photos, here, monkeypatch):
    monkeypatch.setattr(recipes, "STEPS", 8)
    content = json.loads((FLICKR / "captions_train.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    rows = [(names[item["image_id"]], item["caption"]) for item in content["annotations"][:100]]
    table(photos / "mine.csv", ["photo", "caption"], rows)
    assert here("init", "mine.csv", "--images", FLICKR / "images") == 0
    assert here("fit", "mine.yaml", "--trainer.fast_dev_run=true", "--tracking.wandb=off") == 0


def test_settings_follow_from_the_data(photos, monkeypatch):
    labels(photos / "mine.csv")
    monkeypatch.setattr("velm_lightning.cli.init.weights_available", lambda: True)
    assert main(["init", "mine.csv"]) == 0
    config = yaml.safe_load((photos / "mine.yaml").read_text())
    assert config["model"]["init_args"]["image_encoder"]["init_args"]["weights"] == "IMAGENET1K_V1"
    assert config["data"]["cache_features"] is True
    assert config["data"]["dataset"]["init_args"]["holdout"] == 0.2
    assert config["model"]["init_args"]["task"]["init_args"]["balance"] == 0.5
    assert config["trainer"]["max_epochs"] == 100
    assert config["early_stopping"] == {"monitor": "val/score", "mode": "max", "patience": 10}


@pytest.mark.parametrize("allowed", [True, False])
def test_weights_are_looked_for_on_the_network_only_if_allowed(photos, monkeypatch, capsys, allowed):
    """A config that needs a download is run with the option that allows it."""
    labels(photos / "mine.csv")
    opened = []
    monkeypatch.setenv("TORCH_HOME", str(photos / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: opened.append(1) or nullcontext())
    assert main(["init", "mine.csv", *(["--allow-network"] if allowed else [])]) == 0
    assert len(opened) == allowed
    command = "velm fit mine.yaml --allow-network" if allowed else "velm fit mine.yaml"
    assert capsys.readouterr().out.splitlines()[-1].strip() == command
    assert f"#   {command}\n" in (photos / "mine.yaml").read_text()
    assert ("TorchvisionCNN" in (photos / "mine.yaml").read_text()) == allowed


def test_an_existing_config_is_not_replaced(photos, capsys):
    labels(photos / "mine.csv")
    (photos / "mine.yaml").write_text("mine: true\n")
    assert main(["init", "mine.csv"]) == 2
    assert "mine.yaml exists: add --force" in capsys.readouterr().err
    assert (photos / "mine.yaml").read_text() == "mine: true\n"


def test_a_table_without_pictures_is_refused_by_its_first_value(photos):
    (photos / "mine.jsonl").write_text(json.dumps({"image": "lost.png", "answer": "a"}) + "\n")
    with pytest.raises(InputError, match=r"\('image' begins with 'lost\.png'\): give --images"):
        propose(photos / "mine.jsonl")

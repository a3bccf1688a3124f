"""The command line as a user meets it: a run from start to end, its folder, and refusals in one line."""

import csv
import json
import re

import pytest
import torch
import yaml
from helpers import tiny
from helpers.command_line import CONF, FEW, SMALL, velm
from helpers.payload import Payload
from helpers.pictures import smooth
from helpers.resuming import fault
from PIL import Image

from velm_lightning.cli.commands import COMMANDS, main
from velm_lightning.data.synthetic.shape_scenes import ShapeScenes
from velm_lightning.fusion import Fusion, InteractiveFusion
from velm_lightning.types import Prediction

VQA = ["--config", str(CONF / "vqa.yaml")]
TINY = [*FEW, *SMALL, "--data.batch_size=8", "--tracking.wandb=off", "--trainer.enable_progress_bar=false"]
FIT = ["fit", *VQA, *TINY, "--trainer.max_epochs=2", "--trainer.log_every_n_steps=1"]


class Ran:
    """What a finished command left."""

    def __init__(self, folder, out, err=""):
        self.folder, self.out, self.err = folder, out, err

    @property
    def record(self):
        return json.loads((self.folder / "run.json").read_text())

    def rows(self, split):
        lines = (self.folder / "predictions" / f"{split}.jsonl").read_text("utf-8").splitlines()
        return [Prediction(**json.loads(line)) for line in lines]

    def metrics(self):
        with (self.folder / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run of the console script, as a user starts it."""
    folder = tmp_path_factory.mktemp("fit")
    done = velm(*FIT, cwd=folder, OMP_NUM_THREADS="1")  # as in the tests' own process: threads decide the last digit
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / "vqa").iterdir()
    return Ran(run, done.stdout, done.stderr)


# A run and its folder


def test_a_run_ends_with_its_figures_and_its_folder(ran):
    assert f"run: {ran.folder.relative_to(ran.folder.parents[2])}" in ran.out
    for word in ("score", "accuracy", "loss", *(f"score · {group}" for group in ran.record["groups"]["test"])):
        assert word in ran.out


def test_a_run_says_nothing_alarming(ran):
    assert "Traceback" not in ran.err
    assert "Warning" not in ran.err


def test_a_run_repeats_no_messages_of_libraries(ran):
    noise = ("litlogger", "available:", "Restor", "anonymous", "Seed set", "`Trainer", "Loaded model", "FLOPs 0")
    assert [word for word in noise if word in ran.out + ran.err] == []


def test_every_epoch_is_one_line_in_a_file(ran):
    """The output of the command is no terminal."""
    lines = [line for line in ran.out.splitlines() if line.startswith("epoch ")]
    assert [re.match(r"epoch (\d)/2  step \d+  loss [\d.]+  val/score [\d.]+ ", line)[1] for line in lines] == [
        "1",
        "2",
    ]
    assert " (best)  " in lines[0]
    assert "\r" not in ran.out


def test_a_run_ends_with_the_commands_to_run_next(ran):
    *_, title, ask, probe, compare = ran.out.splitlines()
    run = ran.folder.relative_to(ran.folder.parents[2])
    assert title == "next:"
    assert [ask, probe, compare] == [
        *(f"  velm ask {run} --random", f"  velm probe {run}"),
        f"  velm compare {run.parent}",
    ]
    assert f"best checkpoint: {run}/checkpoints/best.ckpt\ngallery: {run}/gallery/test.png\n" in ran.out


def test_the_folder_holds_what_it_should(ran):
    assert ran.folder.name.startswith("interactivefusion-s0-")
    found = {path.relative_to(ran.folder).as_posix() for path in ran.folder.rglob("*") if path.is_file()}
    assert found == {
        "config.yaml",
        "run.json",
        "metrics.csv",
        "tokenizer/tokenizer.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "predictions/val.jsonl",
        "predictions/test.jsonl",
        "gallery/val.png",
        "gallery/test.png",
        "predictions/val.pictures.jsonl",
        "predictions/test.pictures.jsonl",
        "predictions/val.maps.jsonl",
        "predictions/test.maps.jsonl",
    }


def test_the_maps_are_of_one_sample_per_image(ran):
    rows = [json.loads(line) for line in (ran.folder / "predictions" / "test.maps.jsonl").read_text().splitlines()]
    assert rows
    assert len({row["image"] for row in rows}) == len(rows)
    assert all(len(line) == len(row["evidence"][0]) for row in rows for line in row["evidence"])


def test_the_record_tells_what_was_run(ran):
    assert ran.record["planned_steps"] == ran.record["steps"]
    record = ran.record
    assert record["id"] == ran.folder.name
    assert record["status"] == "finished"
    assert (record["seed"], record["world_size"], record["epochs"]) == (0, 1, 2)
    assert record["command"][1:] == FIT
    assert record["model"]["class_path"] == "velm_lightning.fusion.interactive.InteractiveFusion"
    assert "vocabulary" not in record["model"]["init_args"]
    assert record["parameters"] == record["trainable"] > 1000
    assert record["training_flops_per_sample"] > 2 * record["inference_flops_per_sample"] > 1000
    assert record["versions"].keys() >= {"python", "torch", "lightning", "velm_lightning"}
    assert record["data"].keys() == {"train", "val", "test"}
    assert record["minutes"] > 0


def test_the_ceiling_stands_before_the_training_and_at_the_end(ran):
    known = set(Fusion.load_from_checkpoint(ran.folder / "checkpoints/best.ckpt").vocabulary.answers)
    share = sum(bool(known & set(row.references)) for row in ran.rows("val")) / len(ran.rows("val"))
    assert ran.record["ceiling"] == {
        "val": {"score": pytest.approx(share), "bytes": 1.0, "samples": len(ran.rows("val"))}
    }
    assert ran.record["tokenizer"]["reason"]
    (said,) = ran.record["limits"]
    assert ran.out.count(said) == 2


def test_every_sample_is_predicted_once_and_every_figure_follows_from_the_rows(ran):
    data = ShapeScenes(train=4, val=3, test=2, size=16)
    for split in ("val", "test"):
        rows, samples = ran.rows(split), {sample.key: sample for sample in data.split(split)}
        assert [row.key for row in rows] == sorted(samples)
        assert all((row.group, row.prompt) == (samples[row.key].group, samples[row.key].text) for row in rows)
        assert all(tuple(row.references) == samples[row.key].references for row in rows)
        figures = ran.record["scores"][split]
        assert figures["samples"] == len(rows)
        assert figures["score"] == figures["accuracy"] == sum(row.score for row in rows) / len(rows)
        losses = [row.loss for row in rows if row.loss is not None]  # none where the answer was never trained on
        assert figures["loss"] == pytest.approx(sum(losses) / len(losses))
        for group, score in ran.record["groups"][split].items():
            scores = [row.score for row in rows if row.group == group]
            assert score == pytest.approx(sum(scores) / len(scores))


def test_the_metrics_hold_training_and_evaluation(ran):
    rows = ran.metrics()
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    assert sum(bool(row["train/loss"]) for row in rows) == ran.record["steps"]
    for name in ("train/learning_rate", "train/samples_per_second", "train/grad_norm"):
        assert all(float(row[name]) >= 0 for row in rows if row["train/loss"])
    assert sum(bool(row["val/score"]) for row in rows) == 3, "after each epoch, and the best in the end"
    assert float(rows[-1]["test/score"]) == ran.record["scores"]["test"]["score"]


def test_a_checkpoint_stands_alone(ran):
    model = Fusion.load_from_checkpoint(ran.folder / "checkpoints" / "best.ckpt")
    assert type(model) is InteractiveFusion
    answers = {row.references[0] for split in ("val", "test") for row in ran.rows(split)}
    assert {row.prediction for row in ran.rows("val")} <= set(model.vocabulary.answers)
    assert answers & set(model.vocabulary.answers)
    assert model.vocabulary.tokenizer.to_str() == (ran.folder / "tokenizer" / "tokenizer.json").read_text()


def test_the_config_is_complete(ran):
    config = yaml.safe_load((ran.folder / "config.yaml").read_text())
    assert config["seed_everything"] == 0
    assert config["data"]["dataset"]["init_args"]["train"] == 4
    assert config["data"]["dataset"]["init_args"]["questions_per_scene"] == 8
    assert config["model"]["init_args"]["image_encoder"]["init_args"]["widths"] == [8, 8]
    assert config["trainer"]["max_epochs"] == 2


def test_the_config_of_a_run_repeats_it_to_the_last_digit(ran, here, tmp_path):
    assert here("fit", "--config", ran.folder / "config.yaml", f"--tracking.runs={tmp_path}") == 0
    (folder,) = (tmp_path / "vqa").iterdir()
    again = Ran(folder, "")
    assert again.folder.name != ran.folder.name
    for split in ("val", "test"):
        assert again.rows(split) == ran.rows(split)
    assert again.record["scores"] == ran.record["scores"]
    untimed = [{k: v for k, v in row.items() if k != "train/samples_per_second"} for row in again.metrics()]
    assert untimed == [{k: v for k, v in row.items() if k != "train/samples_per_second"} for row in ran.metrics()]


def test_a_run_of_a_few_steps_ends_with_figures_too(here, tmp_path):
    assert here(*FIT, "--trainer.max_steps=1", f"--tracking.runs={tmp_path}") == 0  # and no evaluation before its end
    (folder,) = (tmp_path / "vqa").iterdir()
    record = Ran(folder, "").record
    assert (record["status"], record["steps"]) == ("finished", 1)
    assert record["scores"].keys() == {"val", "test"}


def test_a_model_can_be_fitted_to_one_batch(here, tmp_path):
    words = ["--trainer.overfit_batches=1", "--trainer.max_epochs=25", "--early_stopping.patience=25"]
    words += ["--model.init_args.optimization.learning_rate=5e-3", f"--tracking.runs={tmp_path}"]
    assert here(*FIT, *words) == 0
    (folder,) = (tmp_path / "vqa").iterdir()
    losses = [float(row["train/loss"]) for row in Ran(folder, "").metrics() if row["train/loss"]]
    assert len(losses) == 25
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(("command", "split"), [("validate", "val"), ("test", "test")])
def test_a_checkpoint_is_evaluated_in_the_folder_of_its_run(ran, here, command, split):
    rows, scores = ran.rows(split), ran.record["scores"]
    (ran.folder / "predictions" / f"{split}.jsonl").unlink()
    checkpoint = ran.folder / "checkpoints" / "best.ckpt"
    assert here(command, "--config", ran.folder / "config.yaml", "--ckpt_path", checkpoint) == 0
    assert ran.rows(split) == rows
    assert ran.record["scores"] == scores
    assert ran.record["status"] == "finished"


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_what_the_wrong_pictures_cost_stands_beside_the_scores_of_the_right_ones(ran, here, capsys):
    before, rows = ran.record, ran.rows("test")
    words = ["--ckpt_path", ran.folder / "checkpoints" / "best.ckpt", "--data.incongruent", "true"]
    assert here("test", "--config", ran.folder / "config.yaml", *words) == 0
    wrong = ran.rows("test-incongruent")
    assert [row._replace(prediction="", score=0, confidence=0, loss=0) for row in wrong] == [
        row._replace(prediction="", score=0, confidence=0, loss=0) for row in rows
    ]
    assert any(now.loss != row.loss for now, row in zip(wrong, rows, strict=True))
    assert ran.rows("test") == rows
    assert {name: ran.record["scores"][name] for name in before["scores"]} == before["scores"]
    assert ran.record["scores"]["test-incongruent"]["samples"] == len(rows)
    assert ran.record["signature"] == before["signature"]
    assert (ran.folder / "gallery" / "test-incongruent.png").is_file()
    assert "test-incongruent" in capsys.readouterr().out


def test_a_checkpoint_is_asked_without_its_data(ran, here, capsys, tmp_path):
    Image.fromarray(tiny.picture(0).permute(1, 2, 0).numpy()).resize((60, 40)).save(tmp_path / "photo.jpg")
    words = ["--image", "photo.jpg", "--text", "how many red shapes are there?", "--best", "3"]
    assert here("ask", ran.folder / "checkpoints" / "best.ckpt", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    chances = [float(line.split("%")[0]) for line in lines]
    assert len(lines) == 3
    assert chances == sorted(chances, reverse=True)
    answers = Fusion.load_from_checkpoint(ran.folder / "checkpoints" / "best.ckpt").vocabulary.answers
    assert {line.split("%")[1].strip() for line in lines} <= set(answers)


# Refusals


def refused(here, capsys, *words):
    """The one message with which a command ends."""
    capsys.readouterr()
    assert here(*words) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.err.count("velm: error: ") == 1
    assert captured.err[captured.err.index("velm: error: ") :].count("\n") == 1, "one line"
    return captured.err


@pytest.mark.parametrize(
    ("words", "named", "meant"),
    [
        (["--data.batchsize=4"], "data.batchsize", "data.batch_size"),
        (["--trainer.max_epcohs=4"], "trainer.max_epcohs", "trainer.max_epochs"),
        (["--trainer.max_epoch=4"], "trainer.max_epoch", "trainer.max_epochs"),
        (["--model.init_args.dropuot=0.1"], "dropuot", "dropout"),
        (["--model.init_args.image_encoder.init_args.widhts=[8]"], "widhts", "widths"),
        (["--model=LateFusoin"], "LateFusoin", "LateFusion"),
        (["--model.init_args.image_encoder=SmalCNN"], "SmalCNN", "SmallCNN"),
        (["--data.dataset=ShapeScens"], "ShapeScens", "ShapeScenes"),
        (["--config", "mine.yaml"], "data.batch_siez", "data.batch_size"),
    ],
    ids=lambda value: value[0].lstrip("-") if isinstance(value, list) else "",
)
def test_a_misspelt_key_or_class_is_named_with_the_right_spelling(here, capsys, tmp_path, words, named, meant):
    (tmp_path / "mine.yaml").write_text("data:\n  batch_siez: 4\n")
    message = refused(here, capsys, *FIT, *words)
    assert f"did you mean {meant!r} instead of {named!r}?" in message


def test_without_a_config_what_is_missing_is_named(here, capsys):
    assert "data.dataset and model must be given: name a config" in refused(here, capsys, "fit")
    message = refused(here, capsys, "fit", "--data", CONF / "data" / "shape_scenes.yaml")
    assert "velm: error: model must be given" in message


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("trainer.enable_checkpointing=false", "enable_checkpointing=False"),
        ("trainer.val_check_interval=9", "must be less than or equal to the number of the training batches"),
        ("early_stopping.monitor=val/nothing", "Early stopping conditioned on metric `val/nothing` which is not"),
    ],
)
def test_what_lightning_refuses_is_one_line_too(here, capsys, tmp_path, option, told):
    assert told in refused(here, capsys, *FIT, f"--{option}", f"--tracking.runs={tmp_path}")


def test_what_lightning_refuses_in_the_code_of_a_user_keeps_its_traceback(here, tmp_path):
    with pytest.raises(ValueError, match=r"self.log\(twice, .*single element") as caught:
        here(*FIT, *fault("WrongLog", step=1), "--allow=helpers", f"--tracking.runs={tmp_path}")
    assert any(entry.name == "happen" for entry in caught.traceback)


def test_a_negative_number_of_images_is_refused(here, capsys):
    assert "tracking.pictures must be at least 0, got -1" in refused(here, capsys, *FIT, "--tracking.pictures=-1")


def test_a_missing_config_is_named(here, capsys):
    assert "nowhere.yaml" in refused(here, capsys, "fit", "--config", "nowhere.yaml")


def test_a_missing_checkpoint_is_named(here, capsys):
    message = refused(here, capsys, "validate", *VQA, *TINY, "--ckpt_path", "nowhere.ckpt")
    assert "--ckpt_path nowhere.ckpt does not exist" in message


def test_a_checkpoint_that_cannot_be_used_is_refused_before_it_is_unpacked(ran, here, capsys, tmp_path):
    whole = ran.folder / "checkpoints" / "best.ckpt"
    words = ["validate", "--config", ran.folder / "config.yaml", f"--tracking.runs={tmp_path}", "--ckpt_path"]
    (tmp_path / "cut.ckpt").write_bytes(whole.read_bytes()[:2000])
    assert "cut.ckpt is cut off or not a checkpoint" in refused(here, capsys, *words, "cut.ckpt")
    harmful = torch.load(whole, weights_only=True) | {"extra": Payload(tmp_path / "it_ran")}
    torch.save(harmful, tmp_path / "harmful.ckpt")
    assert "holds more than weights and plain values" in refused(here, capsys, *words, "harmful.ckpt")
    assert not (tmp_path / "it_ran").exists()
    other = refused(here, capsys, *words, whole, "--model=LateFusion")
    assert "the checkpoint holds a InteractiveFusion, the config names a LateFusion" in other


def test_a_class_of_another_kind_is_no_fusion(here, capsys):
    assert "SmallCNN" in refused(here, capsys, *FIT, "--model=velm_lightning.encoders.SmallCNN")


def test_a_value_that_makes_no_sense_is_named(here, capsys):
    assert "data.batch_size must be at least 1, got 0" in refused(here, capsys, *FIT, "--data.batch_size=0")


def test_a_wrong_command_is_named(here, capsys):
    assert "fitt" in refused(here, capsys, "fitt", *VQA, *TINY)


def test_a_missing_picture_is_named(here, capsys, tmp_path):
    lines = [{"image": f"{name}.png", "text": "what?", "answers": "a cat"} for name in ("there", "missing")]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Image.new("RGB", (20, 20)).save(tmp_path / "there.png")
    words = ["--data.dataset=JSONLines", "--data.dataset.init_args.train=train.jsonl"]
    val = ["--data.dataset.init_args.val=train.jsonl"]
    few = [word for word in TINY if "dataset" not in word]
    assert "missing.png" in refused(here, capsys, "fit", *VQA, *words, *val, *few)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [lines[0]] * 40 + [lines[1]]))
    process = ["--data.image_cache=disabled", "--data.num_workers=1"]
    told = refused(here, capsys, "fit", *VQA, *words, *val, *few, *process)
    assert "velm: error: sample '40': missing.png: no such image file: correct the name" in told


def test_a_check_of_data_prints_every_fault_that_is_asked_for(here, capsys, tmp_path):
    rows = [{"image": f"{n}.png", "text": "what?", "answers": "a cat"} for n in range(25)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    smooth(40, 30).save(tmp_path / "0.png")
    config = {"dataset": {"class_path": "JSONLines", "init_args": {"train": "train.jsonl"}}, "max_pixels": 1000}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    assert here("data", "check", "own.yaml") == 1
    told = capsys.readouterr().out
    assert "train.jsonl:1: 0.png: claims 40 x 30 pixels, more than max_pixels = 1000" in told
    assert "5 more: --all prints them" in told
    assert here("data", "check", "own.yaml", "--all") == 1
    told = capsys.readouterr().out
    assert all(f"train.jsonl:{n + 1}: {n}.png" in told for n in range(25))


def test_a_check_of_data_prints_what_the_tokeniser_allows(here, capsys, tmp_path):
    targets = ("a red star", "a blue star")
    rows = [{"image": f"{i}.png", "text": "", "target": target, "key": target} for i, target in enumerate(targets)]
    for name, kept in (("train", rows[:1]), ("val", rows)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    for width in (40, 41):
        smooth(width, 30).save(tmp_path / f"{width - 40}.png")
    files = {"train": "train.jsonl", "val": "val.jsonl", "columns": {"text": None}}
    config = {"dataset": {"class_path": "JSONLines", "init_args": files}}
    config["tokenizer"] = {"class_path": "TrainedTokenizer", "init_args": {"kind": "word"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    here("data", "check", "own.yaml")
    told = capsys.readouterr().out
    assert "tokeniser: whole words of the training texts, 8 tokens" in told
    assert "warning: the highest val exact match that this tokeniser and answer list allow is 0.5000" in told
    assert "'a blue star' becomes 'a star'" in told


# The list of commands


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_no_command_is_no_success(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_the_package_runs_as_a_module_and_by_both_names():
    from importlib import import_module
    from importlib.metadata import entry_points

    scripts = {point.name: point.value for point in entry_points(group="console_scripts") if "velm" in point.value}
    assert scripts == dict.fromkeys(("velm", "LightningCLI"), "velm_lightning.__main__:main")
    assert import_module("velm_lightning.__main__").main is import_module("velm_lightning.cli.commands").main


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_what_a_run_owes_to_image_and_text_is_kept_with_it(ran, here, capsys):
    assert here("probe", ran.folder, "--shuffles", "1") == 0
    found = json.loads((ran.folder / "probe.json").read_text())
    assert found["split"] == "test"
    assert set(found["shuffled"]) == {"image", "text"}
    assert f"probe: {ran.folder}" in capsys.readouterr().out.replace("\n", "")
    assert here("probe", ran.folder, "--shuffles", "0") == 2
    assert "--shuffles must be at least 1, got 0" in capsys.readouterr().err


def test_what_a_nested_part_refuses_is_one_sentence(here, capsys):
    words = ["fit", "--config", CONF / "vqa.yaml", *FEW, *SMALL, "--tracking.wandb=off"]
    assert here(*words, "--model.init_args.task.init_args.focal=-1") == 2
    assert "velm: error: task.focal must be a finite number of at least 0, got -1" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_a_seed_that_is_no_seed_is_one_line(here, capsys, seed):
    assert here(*FIT, f"--seed_everything={seed}") == 2
    message = capsys.readouterr().err
    assert message.startswith(f"velm: error: seed_everything: {seed} is not in bounds")
    assert message.count("\n") == 1

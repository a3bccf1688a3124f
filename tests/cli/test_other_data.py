"""Evaluation uses the words and answers of its checkpoint, and never replaces figures that a run has."""

import json
from pathlib import Path

import pytest
import yaml
from helpers import tiny
from helpers.project import COLOURS, FIT, Project, write
from PIL import Image

from velm_lightning.checkpoints.checkpoint import vocabulary_of
from velm_lightning.data import MultimodalData
from velm_lightning.tracking.evaluations import Conditions, name_of
from velm_lightning.tracking.run import Run


@pytest.fixture(scope="module")
def project(tmp_path_factory, here_in):
    made = Project(tmp_path_factory.mktemp("project"), here_in)
    assert made.here(*FIT) == 0
    return made


@pytest.fixture(autouse=True)
def as_it_was(project):
    """Every test finds the data that the run was trained on."""
    project.data()


# Words and answers


def test_more_training_rows_change_no_figure_of_a_checkpoint(project):
    before = project.kept()
    project.data(train=("red", "green", "blue", "grey", *["grey"] * 3, *["blue"] * 2))
    assert project.evaluate("test") == 0
    assert project.kept() == before


def test_an_evaluation_needs_no_training_split(project):
    before = project.kept()
    (project.folder / "train.jsonl").unlink()
    assert project.evaluate("test") == 0
    assert project.kept() == before
    assert project.evaluate("predict") == 0
    assert json.loads(project.predictions("predict").splitlines()[0])["prediction"] in COLOURS


def test_fewer_answers_in_the_config_do_not_affect_a_checkpoint(project):
    before = project.kept()
    assert project.evaluate("test", "--data.num_answers=2", "--data.max_length=2") == 0
    assert project.kept() == before


def test_resuming_with_another_vocabulary_is_refused(project, capsys):
    record, config = project.record, (project.run / "config.yaml").read_text()
    project.data(train=("grey", "grey", "red", "green", "blue"))
    assert project.here("fit", *project.config, "--ckpt_path=last") == 2
    errors = capsys.readouterr().err
    assert "another vocabulary: answer 0 was 'blue', is 'grey'" in errors
    assert "start a new run from its weights with --model.init_from" in errors
    assert (project.record, (project.run / "config.yaml").read_text()) == (record, config)


def test_resuming_with_other_rows_of_the_same_words_is_refused(project, capsys):
    record = project.record
    project.data(train=("green", "red", "blue", "grey") * 2)
    longer = "--trainer.max_epochs=2", "--resume_schedule=stretch"
    assert project.here("fit", *project.config, "--ckpt_path=last", *longer) == 2
    errors = capsys.readouterr().err
    assert "the train split has changed since" in errors
    assert f"--model.init_from {project.run}/checkpoints/last.ckpt" in errors
    assert project.record == record


def test_a_probe_reads_data_as_its_checkpoint_does(project):
    def probed():
        assert project.here("probe", project.run, "--shuffles=1") == 0
        return json.loads((project.run / "probe.json").read_text())

    before = probed()
    project.data(train=("grey",) * 5 + ("red", "green"))
    assert probed() == before


def test_a_new_run_may_use_the_vocabulary_of_another(project):
    data = MultimodalData(tiny.Samples(), vocabulary_from=project.run / "checkpoints" / "best.ckpt")
    assert data.vocabulary.answers == sorted(COLOURS)


def test_data_use_the_vocabulary_of_their_model():
    samples = tiny.many(4)
    data = MultimodalData(tiny.Samples(train=samples, test=samples), batch_size=4)
    data.connect(tiny.fusion(vocabulary=data.vocabulary))
    ids = data.split("test").pictured(range(4)).ids
    model = tiny.fusion(vocabulary=tiny.vocabulary())
    data.connect(model)
    batch = data.split("test").pictured(range(4))
    assert batch.ids.tolist() != ids.tolist()
    assert batch.answers.shape == (4, len(model.vocabulary.answers))
    assert model.vocabulary.decode(batch.ids[0].tolist()[1:]) == "is it red ?"


# Figures of other data


def test_figures_of_another_file_are_a_separate_entry(project, capsys):
    before = project.kept()
    write(project.folder / "other one.jsonl", ("green", "green"))
    words = ["test", "--data.dataset.init_args.test=other one.jsonl"]
    assert project.evaluate(*words) == 0
    (name,) = (name for name in project.record["scores"] if name.startswith("test@other_one-"))
    assert f"stored as {name}, separate from the run's own figures: other data" in capsys.readouterr().out
    assert project.kept() == before
    assert project.record["scores"][name]["samples"] == 2
    assert f"split:{name}:" in project.record["signatures"][name]
    for place in (f"predictions/{name}.jsonl", f"predictions/{name}.pictures.jsonl", f"gallery/{name}.png"):
        assert (project.run / place).is_file()
    names = set(project.record["scores"])
    assert project.evaluate(*words) == 0
    assert set(project.record["scores"]) == names, "the same data again are the same entry"
    assert project.here("verify", project.run) == 0
    assert project.here("compare", project.run, "--split", name) == 0
    assert project.evaluate("predict", *words[1:]) == 0
    assert len(project.predictions(name.replace("test", "predict")).splitlines()) == 2


def test_changed_data_of_the_same_file_are_other_data(project):
    before = project.kept()
    project.data(test=("green", "green"))
    assert project.evaluate("test") == 0
    assert project.kept() == before
    assert any(name.startswith("test@test-") for name in project.record["scores"])


@pytest.mark.parametrize(
    ("words", "checkpoint", "name"),
    [
        ([], "last", "test@last"),
        (["--trainer.limit_test_batches=1", "--data.batch_size=2"], "best", "test@part-"),
        (["--model.init_args.task.init_args.scorer=VQAAccuracy"], "best", "test@settings-"),
        (["--data.incongruent=true", "--seed_everything=5"], "best", "test-incongruent@seed-5"),
    ],
    ids=["checkpoint", "samples", "scorer", "seed"],
)
def test_other_settings_are_a_separate_entry(project, words, checkpoint, name):
    before = project.kept()
    assert project.evaluate("test", *words, checkpoint=checkpoint) == 0
    assert project.kept() == before
    assert [split for split in project.record["scores"] if split.startswith(name)]
    assert project.here("verify", project.run) == 0


def test_a_validation_later_leaves_the_signature_of_the_run(project):
    before = project.record["signature"]
    assert "|split:test:" in before
    assert project.evaluate("validate") == 0
    assert project.record["signature"] == before


def test_entries_of_another_process_stay_in_the_record(tmp_path):
    run = Run(tmp_path)
    run.update(status="running")
    other = Run(tmp_path)
    run.update(status="finished")
    other.keep("test@other", scores={"score": 1.0})
    run.keep("test", scores={"score": 0.5})
    assert json.loads((tmp_path / "run.json").read_text()) == {
        "status": "finished",
        "scores": {"test@other": {"score": 1.0}, "test": {"score": 0.5}},
    }


OWN = Conditions("0123456789abcdef", "", "best.ckpt", {"class_path": "a.B", "init_args": {"k": 1}}, 0)


@pytest.mark.parametrize(
    ("changes", "file", "name"),
    [
        ({}, None, "test"),
        ({"seed": None}, Path("x.csv"), "test"),
        ({"data": "fedcba9876543210"}, Path("a/held out.csv"), "test@held_out-fedcba98"),
        ({"data": "fedcba9876543210", "samples": "12345678"}, None, "test@fedcba98"),
        ({"samples": "12345678", "checkpoint": "last.ckpt"}, None, "test@part-12345678+last"),
        ({"checkpoint": ""}, None, "test@untrained"),
    ],
)
def test_a_name_states_the_difference(changes, file, name):
    assert name_of("test", OWN._replace(**changes), OWN, file)[0] == name


def test_two_settings_have_two_names():
    names = {name_of("test", OWN._replace(model={"init_args": {"k": k}}), OWN)[0] for k in (2, 3)}
    assert len(names) == 2


# Two runs in one process


def test_two_fits_in_one_process_are_two_runs(project, tmp_path, monkeypatch):
    monkeypatch.setenv("VELM_RUN_ID", "mine")
    words = ["fit", *project.config, f"--tracking.runs={tmp_path}"]
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr("sys.argv", ["velm"])
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")
    from velm_lightning.cli.commands import main

    for _ in range(2):
        assert main([str(word) for word in words]) == 0
    folders = sorted((tmp_path / "vqa").iterdir())
    assert len(folders) == 2
    assert "mine" not in {folder.name for folder in folders}
    assert all(yaml.safe_load((folder / "run.json").read_text())["status"] == "finished" for folder in folders)
    assert vocabulary_of(folders[0] / "checkpoints" / "best.ckpt").answers == sorted(COLOURS)


def test_other_images_of_the_same_names_are_a_separate_entry(project):
    before = project.kept()
    Image.new("RGB", (24, 24), (250, 250, 0)).save(project.folder / "red.png")
    assert project.evaluate("test") == 0
    assert project.kept() == before
    assert any(name.startswith("test@test-") for name in project.record["scores"])


def test_floors_are_computed_from_the_samples_of_the_training(project):
    before = project.record["floors"]["test"]
    project.data(train=("zebra",) * 3)
    assert project.evaluate("test") == 0
    assert project.record["floors"]["test"] == before


ODD = [{"scores": []}, {"evaluations": {"test": 3}}, {"evaluations": {"test": {"a": 1}}}, {"floors": {"val": 3}}]


@pytest.mark.parametrize("change", ODD, ids=str)
def test_a_record_of_other_types_ends_an_evaluation_in_a_line(project, capsys, change):
    whole = (project.run / "run.json").read_text()
    (project.run / "run.json").write_text(json.dumps(project.record | change))
    try:
        assert project.evaluate("test") == 2
    finally:
        (project.run / "run.json").write_text(whole)
    error = capsys.readouterr().err
    assert "run.json" in error
    assert error.count("velm: error: ") == error[error.index("velm: error: ") :].count("\n") == 1


def test_an_evaluation_writes_nothing_where_a_link_leads(project, capsys):
    place = project.run / "gallery"
    place.rename(project.folder / "elsewhere")
    place.symlink_to(project.folder / "elsewhere")
    before = [path.stat().st_mtime_ns for path in (project.folder / "elsewhere").iterdir()]
    try:
        assert project.evaluate("test") == 2
    finally:
        place.unlink()
        (project.folder / "elsewhere").rename(place)
    assert "gallery is a link that leads out of the run: put a folder in its place" in capsys.readouterr().err
    assert [path.stat().st_mtime_ns for path in place.iterdir()] == before

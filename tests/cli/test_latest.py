"""A run is named ``latest`` by every command; predictions on other pictures need no training file."""

import json

import pytest
from helpers.project import FIT, Project, write
from PIL import Image


@pytest.fixture(scope="module")
def project(tmp_path_factory, here_in):
    """A finished run on four pictures, whose training file is removed."""
    project = Project(tmp_path_factory.mktemp("latest"), here_in)
    assert project.here(*FIT) == 0
    (project.folder / "train.jsonl").rename(project.folder / "gone.jsonl")
    return project


@pytest.fixture
def out(project, capsys):
    """A function that runs a command, which must succeed, and returns what it prints."""

    def run(*words):
        capsys.readouterr()
        assert project.here(*words) == 0
        return capsys.readouterr().out

    return run


def test_a_sample_of_the_runs_own_data_is_shown_by_its_key(out):
    lines = out("ask", "latest", "--sample", "1", "--best", "2").splitlines()
    assert lines[0] == "sample 1 of test: what colour ?"
    assert len(lines) == 4
    assert lines[3] == "expected: blue"
    assert out("ask", "latest", "--random", "--split", "val").startswith("sample ")


def test_without_a_test_split_a_sample_of_val_is_shown(project, out):
    config = project.run / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("test: test.jsonl", "test: null"))
    assert config.read_text() != text
    try:
        assert " of val: what colour ?" in out("ask", "latest", "--random")
    finally:
        config.write_text(text)


def test_a_key_that_does_not_exist_is_refused_with_others(project, capsys):
    assert project.here("ask", "latest", "--sample", "11") == 2
    assert "--sample 11: no sample of test has that key; others are 1" in capsys.readouterr().err


def test_a_run_is_evaluated_and_verified_by_its_name(project, out):
    before = project.record["scores"]["test"]
    out("test", "latest", "--tracking.wandb=off")
    assert project.record["scores"]["test"] == before
    assert "figures agree" in out("verify", project.run.name)


def test_predictions_name_the_files_of_the_pictures(project, out):
    told = out("predict", "latest", "--tracking.wandb=off")
    rows = [json.loads(line) for line in project.predictions("predict").splitlines()]
    assert [row["file"] for row in rows] == ["red.png", "blue.png", "grey.png"]
    assert "predictions: " in told


def test_other_pictures_are_predicted_without_the_training_file(project, out):
    (project.folder / "new" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        Image.new("RGB", (20, 10), (250, 0, 0)).save(project.folder / "new" / name)
    told = out("predict", "latest", "--images", "new", "--text", "what colour ?", "--tracking.wandb=off")
    file = project.folder / told.splitlines()[-1].removeprefix("predictions: ")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert told.splitlines()[-3:-1] == [f"  {row['key']}: {row['prediction']!r}" for row in rows]
    assert [(row["key"], row["file"], row["prompt"]) for row in rows] == [
        ("a.png", "new/a.png", "what colour ?"),
        ("deep/b.png", "new/deep/b.png", "what colour ?"),
    ]


def test_another_file_is_predicted_without_the_training_file(project, out):
    write(project.folder / "new.jsonl", ("grey", "red"))
    told = out("predict", "latest", "--data.dataset.init_args.test=new.jsonl", "--tracking.wandb=off")
    file = project.folder / told.splitlines()[-1].removeprefix("predictions: ")
    assert [json.loads(line)["file"] for line in file.read_text().splitlines()] == ["grey.png", "red.png"]


def test_a_finished_run_says_what_to_do_next(project):
    from velm_lightning.cli.fit import next_steps
    from velm_lightning.tracking import Run

    lines = next_steps(Run(project.run))
    assert lines[0] == f"best checkpoint: {project.run / 'checkpoints/best.ckpt'}"
    assert [line.split()[1] for line in lines[-3:]] == ["ask", "probe", "compare"]


def test_a_run_without_a_test_split_names_what_val_left(tmp_path):
    from velm_lightning.cli.fit import next_steps
    from velm_lightning.tracking import Run

    for file in ("gallery/val.png", "run.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text('{"scores": {"val": {"score": 0.5}}}')
    lines = next_steps(Run(tmp_path))
    assert lines[0] == f"gallery: {tmp_path / 'gallery/val.png'}"
    assert lines[2].endswith("--random --split val")

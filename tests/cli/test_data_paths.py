"""Data is named by its path wherever a config can be: ``--data photos/``, ``velm data check train.parquet``."""

from pathlib import Path

import pytest
from helpers.formats import COLOURS, photos, rows

from velm_lightning.cli import data
from velm_lightning.cli.parsing.parser import Parser
from velm_lightning.cli.start.words import complete
from velm_lightning.data import MultimodalData
from velm_lightning.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory, with questions in ``table.csv`` about images in ``photos``."""
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 40)
    lines = [f"{n}.png,{row['question']},{row['answer']}" for n, row in enumerate(rows(40))]
    (tmp_path / "table.csv").write_text("\n".join(["image,question,answer", *lines]) + "\n")
    return tmp_path


def built(words):
    parser = Parser()
    parser.add_class_arguments(MultimodalData, "data")
    return parser.instantiate(parser.parse_args(words)).data


def test_a_path_replaces_the_dataset_of_a_config(folder):
    written = "dataset: {class_path: JSONLines, init_args: {root: elsewhere, train: a.jsonl, holdout: 0.2}}\n"
    (folder / "data.yaml").write_text(written + "batch_size: 7\n")
    module = built(["--data", "data.yaml", *complete(["fit", "--data", "table.csv", "--data.num_workers=0"])[1:]])
    assert len(module.samples("train")) + len(module.samples("val")) == 40
    assert set(module.vocabulary.answers) == set(COLOURS)
    assert module.batch_size == 7


@pytest.mark.parametrize(("command", "split"), [("validate", "val"), ("test", "test"), ("predict", "test")])
def test_a_file_is_the_split_that_is_evaluated(command, split):
    module = built(complete([command, "--data=table.csv"])[1:])
    assert len(module.samples(split)) == 40


def test_configs_and_missing_paths_are_told_apart():
    assert complete(["fit", "--data", "conf/data/custom.yaml"])[1:] == ["--data", "conf/data/custom.yaml"]
    with pytest.raises(InputError, match=r"--data none\.parquet: there is no such file or folder"):
        complete(["fit", "--data", "none.parquet"])


def test_data_is_checked_by_its_path(capsys):
    assert data.main(["data", "check", "table.csv"]) == 0
    assert "no problems" in capsys.readouterr().out
    (next(iter(Path("photos").glob("3.png")))).unlink()
    assert data.main(["data", "check", "table.csv"]) == 1
    assert "table.csv:5: " in capsys.readouterr().out

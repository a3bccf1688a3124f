"""Null means null from the command line, from configs and from sweeps, and ``off`` is no trap."""

import json
import re
from pathlib import Path

import pytest
from helpers.command_line import CONF, prepared

import velm_lightning
from velm_lightning.tracking import Tracking

DATA = "data.dataset.init_args"
BASE = ["fit", "--config", CONF / "vqa.yaml", "--data.dataset=JSONLines", f"--{DATA}.train=mine.csv"]


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """A function that returns the config of ``velm fit`` with these words and this content of a further config."""

    def parse(*words, **content):
        (tmp_path / "more.json").write_text(json.dumps(content))
        further = ["--config", tmp_path / "more.json"] if content else []
        return prepared(monkeypatch, *BASE, *further, *words, build=False).config["fit"]

    return parse


@pytest.mark.parametrize(
    ("words", "content", "columns"),
    [
        ([f"--{DATA}.columns.text", "null"], {}, {"text": None}),
        ([f"--{DATA}.columns.image=photo", f"--{DATA}.columns.text=null"], {}, {"image": "photo", "text": None}),
        ([], {f"{DATA}.columns.text": None, f"{DATA}.columns.image": "photo"}, {"image": "photo", "text": None}),
        ([], {"data": {"dataset": {"init_args": {"columns": {"text": None}}}}}, {"text": None}),
    ],
)
def test_a_column_of_null_is_null_from_everywhere(parsed, words, content, columns):
    assert parsed(*words, **content).data.dataset.init_args.columns == columns


def test_an_option_within_a_class_may_be_null(parsed):
    config = parsed(f"--{DATA}.val=mine.csv", f"--{DATA}.val=null")
    assert config.data.dataset.init_args.val is None


@pytest.mark.parametrize("value", ["off", "false", "disabled"])
def test_wandb_is_switched_off_by_every_way_to_say_so(parsed, tmp_path, value):
    (tmp_path / "off.yaml").write_text(f"tracking:\n  wandb: {value}\n")
    for words in (["--config", tmp_path / "off.yaml"], [f"--tracking.wandb={value}"]):
        assert Tracking(wandb=parsed(*words).tracking.wandb).wandb == "disabled"


YAML = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "~", ""}
"""Words, in any case, that YAML 1.1 or its users read as a truth value or null."""


def test_no_choice_is_a_word_that_yaml_reads_otherwise():
    files = Path(velm_lightning.__file__).parent.rglob("*.py")
    choices = [text for file in files for text in re.findall(r"Literal\[([^\]]*)\]", file.read_text("utf-8"))]
    values = {value.lower() for text in choices for value in re.findall(r'"([^"]*)"', text)}
    assert {"auto", "stretch", "disabled"} <= values
    assert not values & YAML

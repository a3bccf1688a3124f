"""Run folders of strangers that ``velm verify``, ``runs`` and ``import --like`` read: a sentence at most."""

import json
import math
import os

import pytest
from helpers.run_folders import lines, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velm_lightning.cli.commands import main
from velm_lightning.inspection.verify import verify
from velm_lightning.types import InputError

ODD = [None, True, -1, 1e308, -(10**400), math.inf, math.nan, "", "\ud800", "\x1b[2J", [], [[]], {}, {"a": {}}, ["a"]]
TASK = {"class_path": "velm_lightning.tasks.classification.Classification", "init_args": {}}


def record(task=TASK, split="val"):
    model = {"class_path": "velm_lightning.fusion.LateFusion", "init_args": {"task": task}}
    floors = {split: {"majority": {"answer": "yes", "score": 1.0}}}
    scores = {split: {"score": 0.5, "samples": 4}}
    return {"status": "finished", "model": model, "scores": scores, "groups": {split: {"a": 1.0}}, "floors": floors}


def write(folder, content, samples=None):
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(content))
    (folder / "predictions" / "val.jsonl").write_text(lines(rows(0.5, 0, images=1) if samples is None else samples))
    return folder


def places(value, path=()):
    yield path
    for key, part in value.items() if isinstance(value, dict) else ():
        yield from places(part, (*path, key))


def changed(value, path, new):
    return new if not path else value | {path[0]: changed(value[path[0]], path[1:], new)}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_record_is_verified_or_refused(tmp_path, capsys, data):
    path = data.draw(st.sampled_from(list(places(record()))))
    folder = write(tmp_path / "runs" / "x" / "y", changed(record(), path, data.draw(st.sampled_from(ODD))))
    assert main(["verify", str(folder)]) in (0, 1, 2)
    assert main(["runs", "--runs", str(tmp_path / "runs")]) == 0
    assert "\x1b" not in "".join(capsys.readouterr())


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_prediction_is_verified_or_refused(tmp_path, capsys, data):
    samples = rows(0.5, 0, images=1)
    samples[1] = samples[1] | {data.draw(st.sampled_from(sorted(samples[1]))): data.draw(st.sampled_from(ODD))}
    assert main(["verify", str(write(tmp_path, record(), samples))]) in (0, 1, 2)
    assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("encoders.text.transformer.TransformerTextEncoder", {"dim": 65536, "layers": 12}),
        ("encoders.text.transformer.TransformerTextEncoder", {"dim": 8, "heads": 2, "layers": 10**6}),
        ("text.vocabulary.Vocabulary", {"tokenizer": "", "answers": [], "counts": []}),
    ],
)
def test_a_task_is_a_task_of_an_ordinary_size(tmp_path, path, arguments):
    task = {"class_path": f"velm_lightning.{path}", "init_args": arguments}
    with pytest.raises(InputError):
        verify(write(tmp_path, record(task)))


@pytest.mark.parametrize("split", ["../../elsewhere/val", "/tmp/val", "a\0b", "..", ""])
def test_the_predictions_of_a_split_are_in_the_folder(tmp_path, split):
    write(tmp_path / "elsewhere", record())
    with pytest.raises(InputError):
        verify(write(tmp_path / "x" / "run", record(split=split)))


def test_a_record_that_is_a_pipe_is_not_waited_for(tmp_path, capsys):
    folder = write(tmp_path / "runs" / "x" / "y", record())
    (folder / "run.json").unlink()
    os.mkfifo(folder / "run.json")
    assert main(["runs", "--runs", str(tmp_path / "runs")]) == 0
    assert "unknown" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["run.json", "predictions/val.jsonl"])
def test_a_file_that_is_larger_than_memory_is_not_read(tmp_path, capsys, name):
    folder = write(tmp_path, record())
    os.truncate(folder / name, 2**43)  # it has a hole, and takes no space
    assert main(["verify", str(folder)]) == 2
    assert "has 8,796,093,022,208 bytes, more than" in capsys.readouterr().err


LIKE = [[], {}, {"scores": 3}, {"scores": ["val"]}, {"scores": {"val": []}}, {"scores": {"val": {}}, "model": []}]


@pytest.mark.parametrize("content", LIKE)
def test_a_run_to_import_like_may_hold_anything(tmp_path, capsys, content):
    folder = write(tmp_path / "run", content)
    (tmp_path / "other.jsonl").write_text(lines([{"key": "000-0", "prediction": "yes"}]))
    words = ["--as", "jsonl", "--name", "A", "--split", "val", "--like", str(folder), "--out", str(tmp_path / "out")]
    assert main(["import", str(tmp_path / "other.jsonl"), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"\xff"), os.mkfifo, os.mkdir])
def test_thumbnails_of_a_run_to_import_like_are_text(tmp_path, capsys, spoil):
    folder = write(tmp_path / "run", record())
    spoil(folder / "predictions" / "val.pictures.jsonl")
    answers = [{"key": row["key"], "prediction": "yes"} for row in rows(0.5, 0, images=1)]
    (tmp_path / "other.jsonl").write_text(lines(answers))
    words = ["--as", "jsonl", "--name", "A", "--split", "val", "--like", str(folder), "--out", str(tmp_path / "out")]
    assert main(["import", str(tmp_path / "other.jsonl"), *words]) == 2
    assert "val.pictures.jsonl" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1

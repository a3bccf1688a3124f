"""A broken run folder is left out with the reason, and the other runs are compared; nothing hangs or fails."""

import json
import os
import shutil
import string

import pytest
import yaml
from helpers.run_folders import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velm_lightning.board.state import Board
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.page import as_json, page
from velm_lightning.compare.reading import read_runs
from velm_lightning.compare.tables import print_tables
from velm_lightning.compare.views.exports import latex, markdown, table_of_runs
from velm_lightning.io.terminal import Console

FILES = ("run.json", "config.yaml", "metrics.csv", "predictions/test.jsonl")
FILES += ("predictions/test.pictures.jsonl", "predictions/test.maps.jsonl")
ODD = [None, True, -1, 1e308, -1e308, 10**400, float("inf"), float("nan"), "", "\ud800", "[/b]", "=1+1", [], [[]], {}]
ODD += [{"a": {}}, ["a", 1], {"b": [None]}, "x" * 10_000, 2**63]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two whole runs and one to be broken, small, so that many can be read."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [run(folder, "EarlyFusion", seed, images=4) for seed in range(2)] + [run(folder, "LateFusion", images=4)]
    for path in runs:
        maps = {"key": "000-1", "image": "000-0", "evidence": [[0.5, 0.25], [0.0, 1.0]], "attention": [[1.0], [0.0]]}
        (path / "predictions" / "test.maps.jsonl").write_text(json.dumps(maps) + "\n")
    return runs


def compared(folders):
    """Do all that ``velm compare`` and ``velm board`` do with run folders except for writing files and serving."""
    runs, left = read_runs(folders, drawn=True)
    comparison = compare(runs, left)
    with open(os.devnull, "w", encoding="utf-8") as file:
        print_tables(comparison, Console(file=file))
    for make in (markdown, latex, table_of_runs):
        make(comparison).encode("utf-8")
    page(comparison, "").encode("utf-8")
    board = Board(folders)
    for experiment in board.state(None, ())["experiments"]:
        as_json(board.state(experiment, ("val/score", "train/loss"))).encode("utf-8")
        as_json(board.gallery(experiment)).encode("utf-8")
    assert {"EarlyFusion"} <= {result.method.fusion for result in comparison.results}
    return comparison


def broken(folders, tmp_path):
    """A fresh copy of the run that is to be broken."""
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    return shutil.copytree(folders[2], tmp_path / "copy")


def reason(folders, folder):
    comparison = compared([*folders[:2], folder])
    return {left.folder: left.why for left in comparison.left}.get(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_or_folder_instead_of_a_file_is_not_read(folders, tmp_path, name):
    path = broken(folders, tmp_path) / name
    path.unlink()
    os.mkfifo(path)
    assert "is not a regular file" in reason(folders, tmp_path / "copy")
    path.unlink()
    path.mkdir()
    assert "is not a regular file" in reason(folders, tmp_path / "copy")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_larger_than_memory_is_not_read(folders, tmp_path, name):
    os.truncate(broken(folders, tmp_path) / name, 2**43)  # it has a hole, and takes no space
    assert "has 8,796,093,022,208 bytes, more than" in reason(folders, tmp_path / "copy")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("a: &a [&b b, *a]\nmodel: {class_path: x.Y}", "config.yaml"),
        ("a: " + "[" * 500 + "]" * 500, "config.yaml"),
        ("{? [a, b] : 1, model: {class_path: x.Y}}", "config.yaml cannot be read"),
        ("{a: {1: 2, b: 3}, model: {class_path: x.Y}}", "config.yaml has keys that are not texts"),
        ("\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]), "config.yaml"),
        ("a: " + "9" * 390, "config.yaml has a number of 1296 bits, which is too large"),
        ("a: 1.0e+200", "config.yaml has the number 1e+200, which is too large"),
    ],
    ids=["recursive", "deep", "list", "keys", "bomb", "integer", "float"],
)
def test_an_odd_config_is_left_out_with_the_reason(folders, tmp_path, config, why):
    (broken(folders, tmp_path) / "config.yaml").write_text(config)
    assert why in reason(folders, tmp_path / "copy")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("run.json", '{"status": "finished", "scores": {"test": {"score": "good"}}}', "scores.test.score"),
        ("metrics.csv", "step,a\n1,2,3\n", "metrics.csv cannot be read"),
        ("metrics.csv", "a,b\n1,2\n", "metrics.csv cannot be read: 'step'"),
        ("metrics.csv", "step,a\n1,many\n", "metrics.csv cannot be read: could not convert"),
        ("predictions/test.pictures.jsonl", "{}\n", "rows that are not thumbnails"),
        ("predictions/test.maps.jsonl", '{"key": "a", "evidence": [[1], []]}\n', "rows that are not maps"),
        ("predictions/test.jsonl", "[" * 100_000, "cannot be read"),
    ],
)
def test_odd_files_are_named(folders, tmp_path, name, text, why):
    (broken(folders, tmp_path) / name).write_text(text)
    assert why in reason(folders, tmp_path / "copy")


ROWS = [("key", []), ("score", "1"), ("score", []), ("score", [1]), ("group", 3), ("image", [1]), ("loss", "x")]


@pytest.mark.parametrize(("key", "value"), ROWS)
def test_rows_of_other_types_are_named(folders, tmp_path, key, value):
    path = broken(folders, tmp_path) / "predictions" / "test.jsonl"
    rows = [json.loads(line) | {key: value} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "rows that are not predictions" in reason(folders, tmp_path / "copy")


# A fuzz of single changes. Every example is compared completely.


FUZZ = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
@FUZZ
@given(name=st.sampled_from(FILES), data=st.data())
def test_changed_bytes_never_end_the_comparison(folders, tmp_path, name, data):
    path = broken(folders, tmp_path) / name
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[start:]
    else:
        content[start : start + data.draw(st.integers(1, 40))] = data.draw(
            st.text(string.printable + "\x00é\u2028", max_size=8)
        ).encode()
    path.write_bytes(content)
    compared([*folders[:2], tmp_path / "copy"])


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_odd_values_in_the_record_never_end_the_comparison(folders, tmp_path, data):
    path = broken(folders, tmp_path) / "run.json"
    record = json.loads(path.read_text())
    change(record, data)
    path.write_text(json.dumps(record))
    compared([*folders[:2], tmp_path / "copy"])


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_odd_values_in_the_config_never_end_the_comparison(folders, tmp_path, data):
    path = broken(folders, tmp_path) / "config.yaml"
    content = yaml.safe_load(path.read_text())
    change(content, data)
    path.write_text(yaml.safe_dump(content))
    compared([*folders[:2], tmp_path / "copy"])


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_odd_values_in_a_row_never_end_the_comparison(folders, tmp_path, data):
    path = broken(folders, tmp_path) / "predictions" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(data.draw(st.sampled_from(rows)), data)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    compared([*folders[:2], tmp_path / "copy"])


def change(content, data):
    """Replace, remove or add one value at some depth of a mapping."""
    while True:
        key = data.draw(st.sampled_from([*sorted(content), "new"]))
        inner = content.get(key)
        if not (isinstance(inner, dict) and inner and data.draw(st.booleans())):
            break
        content = inner
    if key in content and data.draw(st.integers(0, 4)) == 0:
        del content[key]
    else:
        content[key] = data.draw(st.sampled_from(ODD))

"""Texts of runs in the files of a comparison: no command of LaTeX, no formula, no mathematics, no path elsewhere."""

import json

import pytest
from helpers.run_folders import run

from velm_lightning.compare.reading import RunFolder
from velm_lightning.compare.views.exports import csv_cell, latex_text, markdown_text
from velm_lightning.errors import InputError


@pytest.mark.parametrize("text", ["[2pt]", "*", " [x]", "*[1cm]"])
def test_a_row_of_latex_begins_with_no_argument(text):
    assert latex_text(text) == "{}" + text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a;=cmd|'/c calc'!A1", "a;'=cmd|'/c calc'!A1"),
        ("a|=1+1", "a|'=1+1"),
        ("a\t@SUM(1)", "a\t'@SUM(1)"),
        ("a\n+1", "a\n'+1"),
        ("＝1+1", "'＝1+1"),
        (" =1", "' =1"),
        ("a=b; c-d", "a=b; c-d"),
        ("-0.5", "-0.5"),
    ],
)
def test_no_part_of_a_csv_cell_is_a_formula(text, cell):
    assert csv_cell(text) == cell


def test_markdown_holds_no_mathematics_and_no_deleted_text():
    assert markdown_text(r"$\href{javascript:alert(1)}{x}$ ~~y~~") == (r"\$\\href{javascript:alert(1)}{x}\$ \~\~y\~\~")


@pytest.mark.parametrize("split", ["../../elsewhere", "/etc/passwd", "..", "a/b"])
def test_a_split_is_a_file_in_the_folder(tmp_path, split):
    folder = run(tmp_path, images=2)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"scores": {split: {"score": 1.0}}}))
    with pytest.raises(InputError, match="names of splits"):
        RunFolder(folder)

"""``velm import`` of files of strangers: whatever they hold, the command imports them or says why not."""

import json
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velm_lightning.cli.commands import main
from velm_lightning.importing.spreadsheet import read_spreadsheet
from velm_lightning.types import InputError

ODD = [None, True, -1, 1e308, 10**400, float("inf"), float("nan"), "", "\ud800", "=1", [], [[]], {}, [None], {"a": {}}]
ODD += [[["a", 1], ["b", 2]], {"b": [None]}, "x" * 5000, 2**63]
SAMPLE = {
    "id": 1,
    "epoch": 1,
    "input": [{"content": [{"text": "what?"}]}],
    "target": "yes",
    "output": {"choices": [{"message": {"content": "yes"}}]},
    "scores": {"match": {"value": "C", "answer": "yes"}},
    "metadata": {"category": "other"},
}
ROW = {"doc_id": 1, "doc": {"question": "q?", "category": "c"}, "target": "yes", "filtered_resps": ["yes"], "acc": 1.0}
FILES = {
    "inspect": {"samples": [SAMPLE, SAMPLE | {"epoch": 2}]},
    "lmms-eval": [ROW, ROW | {"doc_id": 2}],
    "jsonl": [{"key": "a", "prediction": "yes", "references": ["yes"], "score": 1.0, "confidence": 0.5}],
    "vlmevalkit": [{"index": 1, "question": "q?", "answer": "['a', 'b']", "prediction": "a", "hit": 1}],
}


def places(value, path=()):
    """Yield the path of every value within nested values."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_value_is_imported_or_refused(name, tmp_path, data):
    path = data.draw(st.sampled_from(list(places(FILES[name]))))
    new = data.draw(st.sampled_from(ODD))
    file = tmp_path / "theirs.json"
    file.write_text(json.dumps(changed(FILES[name], path, new)))
    words = ["import", str(file), "--as", name, "--name", "x", "--out", str(tmp_path / "runs")]
    assert main(words) in (0, 2)


@pytest.mark.parametrize(
    "references",
    [
        {"annotations": [{"question_id": 1, "image_id": 1, "answers": 7}]},
        {"annotations": [{"question_id": [], "image_id": 1, "answers": []}]},
        {"annotations": 7},
        {"questions": [None], "annotations": []},
        [],
        7,
    ],
    ids=range(6),
)
@pytest.mark.parametrize("kind", ["vqa", "coco"])
def test_references_of_other_types_are_refused(tmp_path, capsys, kind, references):
    (tmp_path / "theirs.json").write_text('[{"question_id": 1, "answer": "a"}, {"image_id": 1, "caption": "a"}]')
    (tmp_path / "references.json").write_text(json.dumps(references))
    words = ["import", tmp_path / "theirs.json", "--as", kind, "--name", "x", "--out", tmp_path / "runs"]
    assert main([str(word) for word in (*words, "--references", tmp_path / "references.json")]) == 2
    assert "Traceback" not in capsys.readouterr().err


SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)


def book(path, row):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", SHEET.format(row))
    return path


@pytest.mark.parametrize(
    "row",
    [
        f'<row r="1">{"<c/>" * 300_000}</row>',
        "<x/>" * 300_000,
        '<row r="1"><c t="s"><v>9</v></c></row>',
        '<row r="1"><c t="s"><v>x</v></c></row>',
    ],
    ids=["very many cells", "other elements", "no such text", "no number"],
)
def test_a_spreadsheet_of_wrong_or_endless_parts_is_refused(tmp_path, row):
    with pytest.raises(InputError, match=r"is not an \.xlsx file that can be read"):
        list(read_spreadsheet(book(tmp_path / "a.xlsx", row)))


def test_the_letters_of_a_column_are_at_most_three(tmp_path):
    cell = '<c r="{}1" t="inlineStr"><is><t>{}</t></is></c>'
    row = f'<row r="1">{cell.format("AB", "a")}{cell.format("Z" * 2_000_000, "b")}</row>'
    row += f'<row r="2">{cell.format("AB", "1")}{cell.format("B", "2")}</row>'
    assert [row.values for row in read_spreadsheet(book(tmp_path / "a.xlsx", row))] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("kind", ["encrypted", "cut off", "larger than it may be"])
def test_an_archive_of_samples_is_whole_and_open(tmp_path, capsys, kind):
    path = tmp_path / "theirs.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("samples/1.json", json.dumps(SAMPLE))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    if kind == "encrypted":
        content[6] |= 1
        content[entry + 8] |= 1
    elif kind == "cut off":
        content[entry : entry + 4] = b"PK\0\0"
    else:
        content[entry + 24 : entry + 28] = (2**31 + 1).to_bytes(4, "little")
    path.write_bytes(content)
    words = ["import", path, "--as", "inspect", "--name", "x", "--out", tmp_path / "runs"]
    assert main([str(word) for word in words]) == 2
    assert capsys.readouterr().err.startswith(f"velm: error: {path}")

"""Every fault of a record raises an InputError: one sentence with the file, the line, the value and the fix."""

import json
from pathlib import Path

import pytest
from helpers.faulty_files import fuzz, refused, written
from hypothesis import given
from hypothesis import strategies as st

from velm_lightning.io.record_files import read_json, read_rows
from velm_lightning.types import InputError

# JSON


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('{"a": [1, 2,\n "b', "a.json:2: not JSON at column 2 (Unterminated string"),
        ('{"a": 1', "a.json:1: not JSON at column 8"),
        ('{"a": 1}\n\n{"b": 2}', "a.json:3: JSON ends before column 1"),
        ("[" * 100_000, "a.json:1: JSON that cannot be read"),
        ("9" * 5000, "a.json:1: JSON that cannot be read"),
        ("", "a.json:1: not JSON at column 1"),
    ],
)
def test_faulty_json_is_refused_with_line_and_column(tmp_path, content, place):
    assert place in refused(read_json, written(tmp_path, "a.json", content))


def test_json_cut_in_the_middle_says_so(tmp_path):
    whole = json.dumps({"questions": [{"question": "is it cut?"}] * 5}, indent=1)
    for end in range(1, len(whole) - 1):
        assert "truncated" in refused(read_json, written(tmp_path, "a.json", whole[:end])), whole[:end]


# Rows


def rows(path: Path) -> list[tuple[str, dict]]:
    return [(row.where.removeprefix(f"{path.parent}/"), row.values) for row in read_rows(path)]


def test_rows_of_each_kind_carry_their_line(tmp_path):
    first, second = {"a": "1", "b": "x, y"}, {"a": "2", "b": "z"}
    lines = written(tmp_path, "a.jsonl", f"{json.dumps(first)}\n\n  {json.dumps(second)}  \n")
    assert rows(lines) == [("a.jsonl:1", first), ("a.jsonl:3", second)]
    listed = written(tmp_path, "a.json", json.dumps([first, second], indent=1))
    assert rows(listed) == [("a.json:2 (item 1)", first), ("a.json:6 (item 2)", second)]
    assert rows(written(tmp_path, "a.csv", 'a,b\r\n1,"x, y"\r\n2,z\r\n')) == [("a.csv:2", first), ("a.csv:3", second)]
    assert rows(written(tmp_path, "a.tsv", "a\tb\n1\tx, y\n\n2\tz\n")) == [("a.tsv:2", first), ("a.tsv:4", second)]
    assert rows(written(tmp_path, "b.csv", 'a,b\n1,"two\nlines"\n2,z\n'))[1] == ("b.csv:4", second)


def test_a_line_separator_within_a_string_ends_no_row(tmp_path):
    assert len(rows(written(tmp_path, "a.jsonl", '{"a": "x\u2028y"}\n{"a": "z\x85"}\n'))) == 2


def test_ten_megabytes_in_one_line_are_read(tmp_path):
    record = {"text": "x" * 10_000_000}
    assert rows(written(tmp_path, "a.jsonl", json.dumps(record)))[0][1] == record
    assert rows(written(tmp_path, "a.json", json.dumps([record, {"n": 2}])))[1] == ("a.json:1 (item 2)", {"n": 2})
    assert rows(written(tmp_path, "a.csv", "a\n" + "x" * 10_000_000))[0][1] == {"a": "x" * 10_000_000}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n{"a": 2}', "a.jsonl:2: not JSON at column 7 (Expecting value): it is truncated"),
        ("a.jsonl", '{"a": 1} {"a": 2}', "a.jsonl:1: text follows the record at column 9"),
        ("a.jsonl", "[1]\n[2]", "a.jsonl:1 (item 1): 1 is not a record"),
        ("a.jsonl", '"text"', "a.jsonl:1: 'text' is not a record"),
        ("a.json", '[{"a": 1},\n{"a": "x', "a.json:2: not JSON at column 7 (Unterminated string"),
        ("a.json", '[{"a": 1}\n', "a.json:2: the list is cut at column 1"),
        ("a.json", '[{"a": 1}] x', "a.json:1: text follows the end of the list"),
        ("a.csv", "a,b\n1,2\n3\n", "a.csv:3: 1 cells under 2 columns"),
        ("a.csv", "a,a\n1,2\n", "a.csv:1: column names ['a', 'a'] are all empty or repeated"),
        ("a.csv", 'a,b\n1,"2\n3,4\n', "a.csv:2: not a table"),
    ],
)
def test_faulty_rows_are_refused_with_their_line(tmp_path, name, content, message):
    assert message in refused(read_rows, written(tmp_path, name, content))


def test_all_faults_can_be_collected_instead(tmp_path):
    problems: list[str] = []
    path = written(tmp_path, "a.jsonl", '{"a": 1}\nnonsense\n{"a": 2}\n[3]\n')
    assert [row.values for row in read_rows(path, problems)] == [{"a": 1}, {"a": 2}]
    assert [problem.partition(": ")[0] for problem in problems] == [f"{path}:2", f"{path}:4"]


# Arbitrary bytes


@fuzz
@given(st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv"]), st.binary(max_size=200))
def test_any_bytes_are_rows_or_refused_with_the_file_named(tmp_path, name, content):
    path = written(tmp_path, name, content)
    for read in (read_rows, read_json):
        try:
            list(read(path) if read is read_rows else [read(path)])
        except InputError as error:
            assert name in str(error)  # noqa: PT017


@fuzz
@given(st.data())
def test_a_table_with_bytes_changed_is_rows_or_refused(tmp_path, data):
    name = data.draw(st.sampled_from(["a.jsonl", "a.json", "a.csv"]))
    record = {"image": "a.jpg", "text": 'what "is", it?'}
    whole = {
        "a.jsonl": "\n".join([json.dumps(record)] * 3),
        "a.json": json.dumps([record] * 3, indent=1),
        "a.csv": 'image,text\na.jpg,"what ""is"", it?"\n',
    }
    content = bytearray(whole[name].encode())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    path = written(tmp_path, name, bytes(content[: data.draw(st.integers(0, len(content)))]))
    problems: list[str] = []
    try:
        assert all(isinstance(row.values, dict) for row in read_rows(path, problems))
    except InputError as error:
        assert name in str(error)  # noqa: PT017
    assert all(name in problem for problem in problems)

"""Every fault of a file raises an InputError: one sentence with the file, the line, the value and the fix."""

import gzip
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from velm_lightning.io.files import clean_text, inside, read_json, read_rows, read_text, show
from velm_lightning.types import InputError

fuzz = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(read, path: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(read(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_utf8_with_and_without_mark_and_marked_utf16_are_read(tmp_path, encoding):
    assert read_text(written(tmp_path, "a.txt", "über\nß".encode(encoding))) == "über\nß"


def test_latin1_is_refused_with_its_line_and_a_fix(tmp_path):
    message = refused(read_text, written(tmp_path, "a.csv", "eins\nzwei\nüber".encode("latin-1")))
    assert "a.csv:3: byte 0xfc is not UTF-8" in message
    assert "iconv -f latin1 -t utf-8 a.csv" in message


def test_utf16_without_its_mark_and_cut_utf16_are_refused(tmp_path):
    assert "a.txt:1: holds a zero byte" in refused(read_text, written(tmp_path, "a.txt", "ab".encode("utf-16-le")))
    assert "save the file as UTF-8" in refused(read_text, written(tmp_path, "b.txt", "ab".encode("utf-16")[:-1]))


def test_packed_files_are_unpacked_and_broken_ones_named(tmp_path):
    packed = gzip.compress("über\nß".encode())
    assert read_text(written(tmp_path, "a.txt.gz", packed)) == "über\nß"
    for broken in (b"plain", packed[:-9], packed[:14] + b"\xff" * 9 + packed[23:]):
        assert "b.txt.gz: cannot be read" in refused(read_text, written(tmp_path, "b.txt.gz", broken))


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path):
    bomb = written(tmp_path, "a.json.gz", gzip.compress(b"0" * 5_000_000))
    assert bomb.stat().st_size < 10_000
    assert "a.json.gz: holds more than 1,000,000 bytes" in refused(lambda path: read_text(path, 1_000_000), bomb)
    assert len(read_text(bomb, 5_000_000)) == 5_000_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_a_folder_of_data_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "train.jsonl")
    (tmp_path / "val.jsonl").symlink_to("/dev/zero")
    for name in ("train.jsonl", "val.jsonl"):
        assert f"{name}: cannot be read (it is a pipe or device" in refused(read_rows, tmp_path / name)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert f"{tmp_path / 'none.txt'}: cannot be read (No such file" in refused(read_text, tmp_path / "none.txt")
    assert f"{tmp_path}: cannot be read" in refused(read_text, tmp_path)


def test_control_characters_become_spaces():
    assert clean_text(" a\rb\vc\fd\u2028e\u2029f\x85g\x00h\ti\n") == "a b c d e f g h i"
    assert clean_text("naïve 猫 👍 \u200d") == "naïve 猫 👍 \u200d"
    assert clean_text("half a pair \ud83d").encode() == "half a pair \ufffd".encode()


def test_a_quoted_value_is_short_whatever_it_is():
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    for value in ("x" * 10**6, list(range(10**6)), nested, 10**4000, "\ud800", None):
        assert len(show(value)) < 200
        show(value).encode()


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


# File names


def test_names_within_the_root_are_joined(tmp_path):
    for name in ("a.jpg", "sub/a.jpg", "sub/../a.jpg", "äö 猫.jpg", "..a.jpg"):
        assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret.jpg", "leads out of"),
        ("sub/../../secret.jpg", "leads out of"),
        ("/etc/passwd", "is an absolute file name"),
        ("C:\\secret.jpg", "is an absolute file name"),
        ("\\\\host\\share\\secret.jpg", "is an absolute file name"),
        ("", "is not a file name"),
        ("a\0b", "is not a file name"),
        ("\ud800", "is not a file name"),
        (7, "is not a file name"),
        (None, "is not a file name"),
        ("link.jpg", "leads out of"),
        ("linked/secret.jpg", "leads out of"),
    ],
)
def test_names_that_lead_out_of_the_root_are_refused(tmp_path, name, message):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.jpg").touch()
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "linked").symlink_to(tmp_path)
    with pytest.raises(InputError, match=message):
        inside(root, name)


def test_a_link_that_stays_within_the_root_is_followed(tmp_path):
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    assert inside(tmp_path, "link.jpg") == tmp_path / "link.jpg"


def test_a_ring_of_links_leads_nowhere(tmp_path):
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    with suppress(InputError):  # newer versions of Python follow it without an error
        assert not inside(tmp_path, "ring").is_file()


def test_the_root_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert inside(tmp_path / "root", "a.jpg") == tmp_path / "root" / "a.jpg"


# Arbitrary bytes


@fuzz
@given(st.text())
@example("\n" * 300)
@example("a" * 300)
def test_any_name_is_within_the_root_or_refused(name):
    root = Path("/tmp")
    try:
        assert inside(root, name).resolve().is_relative_to(root.resolve())
    except InputError as error:
        assert error.args  # noqa: PT017


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

"""Every fault of a file raises an InputError: one sentence with the file, the line, the value and the fix."""

import gzip
import os
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.faulty_files import fuzz, refused, written
from hypothesis import example, given
from hypothesis import strategies as st

from velm_lightning.io.files import clean_text, inside, read_text, show
from velm_lightning.types import InputError

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
        assert f"{name}: cannot be read (it is a pipe or device" in refused(read_text, tmp_path / name)


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

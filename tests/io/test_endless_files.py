"""No text keeps a command busy for hours, and no device is read: each of these tests would not end otherwise."""

import os
import unicodedata
from pathlib import Path

import pytest

from velm_lightning.errors import InputError
from velm_lightning.io.files import clean_text, read_text
from velm_lightning.io.record_files import read_json
from velm_lightning.io.yaml_files import read_yaml


def test_a_key_that_is_given_twice_is_found_among_many(tmp_path):
    path = tmp_path / "many.json"
    path.write_text("{" + ", ".join(f'"{number}": 0' for number in range(300_000)) + ', "299999": 1}')
    with pytest.raises(InputError, match="the key '299999' occurs twice"):
        read_json(path)


def test_of_very_many_accents_thirty_remain():
    text = clean_text("a" + "\u0327\u0301" * 500_000)
    assert text.startswith(unicodedata.normalize("NFC", "a\u0327\u0301"))
    assert len(text) <= 31


@pytest.mark.parametrize("text", ["Tiếng Việt", "שָׁלוֹם", "नमस्ते" * 20, "мир" * 40, "猫が好き" * 30, "👩‍🔬" * 40])
def test_accents_of_languages_are_kept(text):
    assert clean_text(text) == unicodedata.normalize("NFC", text)
    assert clean_text(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("read", [read_text, read_json, read_yaml])
def test_devices_and_pipes_of_others_are_refused(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("/dev/zero", "/dev/random", f"/dev/..{tmp_path}/pipe", str(tmp_path / "link")):
        with pytest.raises(InputError, match="it is a pipe or device, which may never end"):
            read(Path(name))


def test_a_pipe_of_the_own_process_is_read_up_to_the_limit():
    for content, most in ((b"a: 1", 100), (b"x" * 101, 100)):
        end, start = os.pipe()
        os.write(start, content)
        os.close(start)
        if len(content) <= most:
            assert read_text(Path(f"/dev/fd/{end}"), most) == content.decode()
        else:
            with pytest.raises(InputError, match="holds more than 100 bytes"):
                read_text(Path(f"/dev/fd/{end}"), most)
        os.close(end)

"""YAML: what is read as what, the one sentence that refuses the rest, and that what is written is read back."""

import pytest

from velm_lightning.errors import InputError
from velm_lightning.io.yaml_files import MAX_BYTES, MAX_NODES, dump_yaml, load_yaml, read_yaml

BOMB = "".join(
    f"{name}: &{name} [{', '.join([f'*{chr(ord(name) - 1)}' if name > 'a' else 'x'] * 9)}]\n" for name in "abcdefg"
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-5", 1e-5), ("1.5", 1.5), ("-.inf", float("-inf")), ("12", 12), ("2020-01-01", "2020-01-01"), ("on", True)],
)
def test_numbers_are_those_of_the_command_line(text, value):
    assert load_yaml(f"a: {text}") == {"a": value}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "f.yaml:6: holds more than 100,000 values, with what its aliases repeat"),
        ("a: &a " + "x" * 10**6 + "\nb: [" + "*a, " * 200 + "]", "f.yaml:2: holds more than 100,000 values"),
        ("[" + "1, " * (MAX_NODES + 1) + "]", "f.yaml:1: holds more than 100,000 values"),
        ("a: &a\n  b: *a\n", "f.yaml:2: *a contains itself"),
        ("{a: " * 200, "f.yaml:1: is nested more than 100 deep"),
        ("[" * 10**6, "f.yaml:1: "),  # libyaml has a limit of its own, or none
        ("a: " + "1:" * 10**5 + "1", "f.yaml:1: is a number of more than 400 digits"),
        ("a: 1\nb:\n  c: 1\n  'c': 2\n", "f.yaml:4: c is given a second time, after line 3"),
        ("a: !!python/object/apply:os.system [x]", "f.yaml:1: not YAML at column 4"),
        ("a: !!timestamp 2020-13-45", "f.yaml:1: '2020-13-45' is no timestamp (month must be"),
        ("a: !!timestamp x", "f.yaml:1: 'x' is no timestamp"),
        ("a: 1\nb: !!int ''", "f.yaml:2: '' is no int"),
        ("a: !!float ''", "f.yaml:1: '' is no float"),
        ("a: !!bool x", "f.yaml:1: 'x' is no bool"),
        ("a: !!float 1" + ":1" * 190, "f.yaml:1: '1:1:1:"),
        ("a: !!int '1" + ": 1" * 10**6 + "'", "f.yaml:1: is a number of more than 400 digits"),
        ("a: 0x" + "f" * 10**6, "f.yaml:1: is a number of more than 400 digits"),
        ("a: !!int {=: '1" + ":1" * 10**5 + "'}", "f.yaml:1: is a number of more than 400 digits"),
        ("a: !!timestamp {=: x}", "f.yaml:1: [(ScalarNode"),
        ("a: 1\n? !!map x\n: 1", "f.yaml:2: not YAML at column 3 (expected a mapping node"),
        ("a: 1\n? !!set x\n: 1", "f.yaml:2: not YAML at column 3 (expected a mapping node"),
        ("a: 1\n? !!seq x\n: 1", "f.yaml:2: not YAML at column 3 (expected a sequence node"),
        ("on: 1\ntrue: 2\n", "f.yaml:2: true is given a second time, after line 1"),
        ("1: 1\n0x1: 2\n", "f.yaml:2: 0x1 is given a second time, after line 1"),
        ("a: \x00", "f.yaml: not YAML"),
    ],
    ids=[
        *("aliases", "text", "list", "recursive", "deep", "deeper", "base 60", "twice", "python", "date", "no date"),
        *("no integer", "no number", "no truth value", "large base 60", "blanks in base 60", "hexadecimal"),
        *("value of a mapping", "date of a mapping", "mapping as key", "set as key", "list as key"),
        *("equal truth values", "equal numbers", "control"),
    ],
)
def test_what_is_refused_is_one_sentence_with_its_line(text, told):
    with pytest.raises(InputError) as refused:
        load_yaml(text, "f.yaml")
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_merged_keys_may_be_given_again():
    text = "x: &a {k: 1, <<: {z: 1}}\ny: &b {<<: *a, k: 2}\nz: {<<: *b, k: 3}\n"
    assert load_yaml(text) == {"x": {"k": 1, "z": 1}, "y": {"k": 2, "z": 1}, "z": {"k": 3, "z": 1}}


def test_a_file_is_regular_and_not_too_large(tmp_path):
    path = tmp_path / "f.yaml"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match=r"f\.yaml: is larger than 16 MiB"):
        read_yaml(path)
    with pytest.raises(InputError, match="Is a directory"):
        read_yaml(tmp_path)
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        read_yaml(tmp_path / "none.yaml")


TEXTS = ["1e5", "6e12345", "1.0", "null", "on", "~", "", " x", "a: b", "0x1f", "1:30", "2024-01-01", "!!python/x", "=x"]
TEXTS += ["\x00", "\x1b[2J", "\x85", "\u2028", "\ufeffx", "é", "a\n\nb\x85 c", "9" * 500, "<<", "'", '"', "#", "- a"]


@pytest.mark.parametrize("value", [*TEXTS, 1e-5, 1e20, float("inf"), 10**20, True, None, [], {}])
def test_what_is_written_is_read_back(value):
    content = {"a": value, "b": [value], str(value) + "c": 1}
    assert load_yaml(dump_yaml(content)) == content
    assert type(load_yaml(dump_yaml(content))["a"]) is type(value)


def test_a_text_that_is_not_unicode_is_refused():
    with pytest.raises(InputError, match="is not Unicode, which YAML cannot hold"):
        dump_yaml({"a": ["\ud800"]})

"""Custom data: rows become samples, columns can be renamed, and errors name file and line."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velm_lightning.data.datasets.jsonlines import JSONLines
from velm_lightning.types import Dataset, InputError

SHARED = Path(__file__).resolve().parents[4] / "shared/data"
ROW = {"image": "a.jpg", "text": "what is it?", "answers": "cat"}


def lines(folder: Path, *rows: object, name: str = "train.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path(name)


def samples(folder: Path, *rows: object, split: str = "train", **options):
    return JSONLines(folder, **{split: lines(folder, *rows)}, **options).split(split)


def refused(folder: Path, *rows: object, split: str = "train", **options) -> str:
    with pytest.raises(InputError) as caught:
        samples(folder, *rows, split=split, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Samples


def test_a_row_becomes_a_sample(tmp_path):
    row = {"key": 7, "image": "sub/a.jpg", "text": "what\u2028is it?", "answers": "cat", "group": "what", "other": []}
    (sample,) = samples(tmp_path, row)
    assert sample[:6] == ("7", tmp_path / "sub/a.jpg", "what is it?", {"cat": 1.0}, ("cat",), "what")
    assert isinstance(JSONLines(tmp_path, train=lines(tmp_path, row)), Dataset)


def test_columns_are_named_as_the_user_has_them(tmp_path):
    row = {"file": "a.jpg", "question": "what?", "label": "cat", "type": "w", "id": "q1", "text": "unused"}
    names = {"image": "file", "text": "question", "answers": "label", "group": "type", "key": "id"}
    assert samples(tmp_path, row, columns=names)[0][:6] == (
        "q1",
        tmp_path / "a.jpg",
        "what?",
        {"cat": 1.0},
        ("cat",),
        "w",
    )


def test_keys_are_row_numbers_without_a_key_column(tmp_path):
    assert [sample.key for sample in samples(tmp_path, ROW, ROW, ROW)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("answers", "target", "references"),
    [
        ("yes", {"yes": 1.0}, ("yes",)),
        (["yes"], {"yes": 1.0}, ("yes",)),
        (["a", "b", "a", "a", "a", "b", "c"], {"a": 1.0, "b": 2 / 3, "c": 1 / 3}, ("a", "b", "a", "a", "a", "b", "c")),
        ({"yes": 1, "no": 0.3}, {"yes": 1.0, "no": 0.3}, ("yes", "no")),
        (3, {"3": 1.0}, ("3",)),
        (True, {"true": 1.0}, ("true",)),
    ],
)
def test_answers_have_weights(tmp_path, answers, target, references):
    (sample,) = samples(tmp_path, {**ROW, "answers": answers})
    assert sample.target == pytest.approx(target)
    assert sample.references == references


def test_a_target_is_a_sentence_to_produce(tmp_path):
    (sample,) = samples(tmp_path, {"image": "a.jpg", "text": "a cat", "target": "eine\nKatze"})
    assert (sample.target, sample.references) == ("eine Katze", ("eine Katze",))


def test_several_targets_are_training_samples_or_references(tmp_path):
    row = {"image": "a.jpg", "text": "", "target": ["a cat", "the cat"]}
    captions = {"text": None}
    learnt = samples(tmp_path, row, columns=captions)
    assert [(sample.key, sample.target) for sample in learnt] == [("0#0", "a cat"), ("0#1", "the cat")]
    (scored,) = samples(tmp_path, row, split="val", columns=captions)
    assert (scored.key, scored.target, scored.references, scored.text) == ("0", "a cat", ("a cat", "the cat"), "")


def test_a_list_of_images_is_a_clip(tmp_path):
    (sample,) = samples(tmp_path, {**ROW, "image": ["a.jpg", "b.jpg"]})
    assert sample.image == (tmp_path / "a.jpg", tmp_path / "b.jpg")


def test_a_test_file_may_lack_its_labels(tmp_path):
    bare = {"image": "a.jpg", "text": "what?"}
    for row in (bare, {**bare, "answers": None}, {**bare, "answers": ""}):
        (sample,) = samples(tmp_path, row, split="test", columns={"answers": "answers"})
        assert (sample.target, sample.references) == (None, ())
    assert "no column 'answers'" in refused(tmp_path, bare, columns={"answers": "answers"})


def test_csv_and_tsv_are_read_too(tmp_path):
    (tmp_path / "a.csv").write_text('image,text,answers\na.jpg,"is it red, or blue?",red\n')
    (tmp_path / "a.tsv").write_text("image\ttext\tanswers\na.jpg\tis it red, or blue?\tred\n")
    for name in ("a.csv", "a.tsv"):
        (sample,) = JSONLines(tmp_path, train=Path(name)).split("train")
        assert sample[:6] == ("0", tmp_path / "a.jpg", "is it red, or blue?", {"red": 1.0}, ("red",), "")


def test_a_split_without_a_file_is_empty(tmp_path):
    data = JSONLines(tmp_path, train=lines(tmp_path, ROW))
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [1, 0, 0]


# A held-out validation split


def held(folder: Path, rows: list[dict], share: float) -> tuple[list[str], list[str]]:
    data = JSONLines(folder, train=lines(folder, *rows), holdout=share)
    return tuple([f"{sample.image.name} {sample.text}" for sample in data.split(name)] for name in ("train", "val"))


def test_the_held_out_part_shares_no_image_with_training(tmp_path):
    rows = [{**ROW, "image": f"{n % 500}.jpg", "text": f"question {n}"} for n in range(1500)]
    train, val = held(tmp_path, rows, 0.1)
    assert len(train) + len(val) == 1500
    assert len(val) == pytest.approx(150, abs=45)
    assert not {text.split()[0] for text in train} & {text.split()[0] for text in val}


def test_the_held_out_part_depends_only_on_names(tmp_path):
    rows = [{**ROW, "image": f"{n}.jpg", "text": f"question {n}"} for n in range(100)]
    (tmp_path / "elsewhere").mkdir()
    _, val = held(tmp_path, rows, 0.2)
    _, again = held(tmp_path / "elsewhere", rows[::-1], 0.2)
    assert sorted(val) == sorted(again)


def test_the_same_image_under_two_names_is_on_one_side(tmp_path):
    for number in range(60):
        (tmp_path / f"{number:02}.jpg").write_bytes(bytes([number % 30]) * (10 + number % 30 // 10))
    rows = [{**ROW, "image": f"{number:02}.jpg", "text": f"question {number}"} for number in range(60)]
    train, val = held(tmp_path, rows, 0.4)
    sides = [{int(text[:2]) % 30 for text in part} for part in (train, val)]
    assert len(train) + len(val) == 60
    assert sides[1]
    assert not sides[0] & sides[1]


def test_samples_that_share_an_image_are_on_one_side(tmp_path):
    rows = [{**ROW, "image": [f"{n}.jpg", f"{n + 1}.jpg"], "text": f"q {n}"} for n in range(40) if n % 8]
    data = JSONLines(tmp_path, train=lines(tmp_path, *rows), holdout=0.4)
    train, val = ({path for sample in data.split(name) for path in sample.image} for name in ("train", "val"))
    assert train
    assert val
    assert not train & val


# Faults


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ROW, "text": " \n"}, "train.jsonl:2: text is empty: write a text or remove the row"),
        ({**ROW, "text": None}, "train.jsonl:2: text is empty"),
        ({**ROW, "text": ["a"]}, "train.jsonl:2: text is ['a']: write a text"),
        ({**ROW, "answers": ""}, "train.jsonl:2: an answer is empty"),
        ({**ROW, "answers": []}, "train.jsonl:2: the answers are empty"),
        ({**ROW, "answers": ["yes", {"answer": "no"}]}, "train.jsonl:2: an answer is {'answer': 'no'}: write a text"),
        ({**ROW, "answers": {"yes": math.nan}}, "train.jsonl:2: answer 'yes' weighs nan: give a number from 0 to 1"),
        ({**ROW, "answers": {"yes": "1"}}, "train.jsonl:2: answer 'yes' weighs '1'"),
        ({**ROW, "image": ""}, "train.jsonl:2: image '' is not a file name"),
        ({**ROW, "image": []}, "train.jsonl:2: image [] is not a file name"),
        ({**ROW, "image": "../a.jpg"}, "train.jsonl:2: image '../a.jpg' leads out of"),
        ({**ROW, "image": "/a.jpg"}, "train.jsonl:2: image '/a.jpg' is an absolute file name"),
        ({"text": "a", "answers": "b"}, "train.jsonl:2: no column 'image' in 'text, answers'"),
        ({"image": "a.jpg", "text": "a", "answer": "b"}, "no column 'answers' in 'image, text, answer'; did you mean"),
    ],
)
def test_a_faulty_row_is_refused_with_its_line(tmp_path, row, message):
    assert message in refused(tmp_path, ROW, row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ROW, "answers": math.nan}, "train.jsonl:2: an answer is empty (null or NaN)"),
        ({**ROW, "answers": ["a", math.nan]}, "train.jsonl:2: an answer is empty (null or NaN)"),
        ({"image": "a.jpg", "text": "a", "target": math.nan, "answers": "b"}, "train.jsonl:2: target is empty"),
        ({**ROW, "text": math.nan}, "train.jsonl:2: text is empty (null or NaN)"),
        ({**ROW, "text": math.inf}, "train.jsonl:2: text is inf: write a text"),
        ({**ROW, "answers": -math.inf}, "train.jsonl:2: an answer is -inf: write a text"),
    ],
)
def test_a_value_that_is_no_number_is_no_label(tmp_path, row, message):
    columns = {"answers": None} if "target" in row else {}
    assert message in refused(tmp_path, {**ROW, "target": "b"}, row, columns=columns or {"target": None})


def test_a_missing_number_is_a_missing_value(tmp_path):
    row = {**ROW, "answers": math.nan, "group": math.nan}
    assert samples(tmp_path, row, split="test")[0][3:6] == (None, (), "")


def test_a_number_is_one_label_however_it_is_written(tmp_path):
    rows = [{**ROW, "answers": answer} for answer in (1, 1.0, "1", [1, 1.0, "1"], 0.5, 1e300)]
    assert [list(sample.target) for sample in samples(tmp_path, *rows)] == [["1"]] * 4 + [["0.5"], ["1e+300"]]


def test_texts_are_compared_in_one_unicode_form(tmp_path):
    (sample,) = samples(tmp_path, {**ROW, "text": "cafe\u0301?", "answers": "cafe\u0301", "key": "e\u0301"})
    assert (sample.key, sample.text, sample.references) == ("\u00e9", "caf\u00e9?", ("caf\u00e9",))


@pytest.mark.parametrize("on_disk", ["caf\u00e9", "cafe\u0301"])
@pytest.mark.parametrize("in_file", ["caf\u00e9", "cafe\u0301"])
def test_a_image_is_found_whatever_form_its_name_has(tmp_path, on_disk, in_file):
    folder = tmp_path / on_disk
    folder.mkdir()
    (folder / f"{on_disk}.png").touch()
    (sample,) = samples(tmp_path, {**ROW, "image": f"{in_file}/{in_file}.png"})
    assert sample.image == folder / f"{on_disk}.png"
    (missing,) = samples(tmp_path, {**ROW, "image": f"{in_file}/\u00e8.png"})
    assert not missing.image.exists()


def test_the_unicode_form_of_a_name_does_not_change_the_split(tmp_path):
    parts = []
    for letter in ("\u00e9", "e\u0301"):
        _, val = held(tmp_path, [{**ROW, "image": f"{letter}{n}.jpg", "text": f"question {n}"} for n in range(40)], 0.5)
        parts.append([text.split()[-1] for text in val])
    assert 0 < len(parts[0]) < 40
    assert parts[0] == parts[1]


def table(folder: Path, *rows: str) -> Path:
    (folder / "train.csv").write_text("image,text,answers\n" + "".join(f"{row}\n" for row in rows))
    return Path("train.csv")


@pytest.mark.parametrize(
    ("cell", "references"),
    [
        ("\"['red', 'dark red']\"", ("red", "dark red")),
        ('"[""red"", ""dark red""]"', ("red", "dark red")),
        ('"[3, 3, 2]"', ("3", "3", "2")),
        ("\"{'red': 1.0, 'blue': 0.3}\"", ("red", "blue")),
        ("[SEP] and more", ("[SEP] and more",)),
        ("[b]bold[/b]", ("[b]bold[/b]",)),
        ("NaN", ("NaN",)),
    ],
)
def test_a_cell_of_a_table_may_hold_a_list(tmp_path, cell, references):
    (sample,) = JSONLines(tmp_path, train=table(tmp_path, f"a.jpg,what?,{cell}")).split("train")
    assert sample.references == references


@pytest.mark.parametrize("cell", ["\"['red', 'dark red'\"", "\"['red' 'dark red']\"", "\"['red', array(1)]\""])
def test_a_cell_that_only_begins_as_a_list_is_refused(tmp_path, cell):
    with pytest.raises(InputError, match=r"train\.csv:3: answers is .*which is no list: write it as JSON"):
        JSONLines(tmp_path, train=table(tmp_path, "a.jpg,what?,red", f"b.jpg,what?,{cell}")).split("train")


def test_a_table_of_test_rows_may_lack_the_label(tmp_path):
    (tmp_path / "test.csv").write_text("image,text\na.jpg,what?\n")
    data = JSONLines(tmp_path, test=Path("test.csv"), columns={"answers": "answers"})
    assert data.split("test")[0].target is None


def test_a_text_in_json_that_looks_like_a_list_is_a_text(tmp_path):
    assert samples(tmp_path, {**ROW, "answers": "[3, 3]"})[0].references == ("[3, 3]",)


def test_duplicate_keys_are_refused_with_both_lines(tmp_path):
    message = refused(tmp_path, {**ROW, "key": "q"}, {**ROW, "key": "r"}, {**ROW, "key": "q"})
    assert "train.jsonl:3: key 'q' is also in" in message
    assert "train.jsonl:1" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"txt": "a"}}, "columns.txt is not one of image, text, target, answers, group, key; did you mean"),
        (
            {"columns": {"text": "question", "image": "imge"}},
            "train.jsonl:1: no column 'imge' (columns.image, did you mean 'image'?), "
            "no column 'question' (columns.text) in 'image, text, answers': correct the names",
        ),
        ({"columns": {"target": "text", "answers": "answers"}}, "both target and answers"),
        ({"holdout": 1.0}, "holdout=1.0 must be at least 0, below 1"),
        ({"holdout": 0.1, "val": Path("val.jsonl")}, "goes with `train` and without `val`"),
    ],
)
def test_faulty_arguments_are_refused_by_name(tmp_path, options, message):
    assert message in refused(tmp_path, ROW, **options)


def test_an_unknown_column_error_names_the_setting(tmp_path):
    assert "set columns.image" in refused(tmp_path, {"datei": "a.jpg", "text": "a"})
    assert "set columns.text, or `text: null`" in refused(tmp_path, {"image": "a.jpg", "frage": "a"})
    both = "no column 'image', no column 'text' in 'datei, frage': set columns.image and columns.text, or `text: null`"
    assert both in refused(tmp_path, {"datei": "a.jpg", "frage": "a"})
    assert "both target and answers" in refused(tmp_path, {**ROW, "target": "a sentence"})
    assert samples(tmp_path, {**ROW, "target": "a sentence"}, columns={"answers": None})[0].target == "a sentence"


def test_an_empty_file_no_file_and_no_split_are_refused(tmp_path):
    assert "train.jsonl: holds no rows" in refused(tmp_path)
    with pytest.raises(InputError, match="name at least one file"):
        JSONLines(tmp_path)
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        JSONLines(tmp_path, train=Path("none.json")).split("train")
    with pytest.raises(InputError, match="'dev' is not a split"):
        JSONLines(tmp_path, train=Path("none.json")).split("dev")


def test_faults_can_be_collected_and_the_sound_rows_kept(tmp_path):
    data = JSONLines(tmp_path, train=lines(tmp_path, ROW, {**ROW, "text": ""}, [], {**ROW, "text": "how?"}))
    problems: list[str] = []
    samples = data.read("train", problems)
    assert [located.sample.text for located in samples] == ["what is it?", "how?"]
    assert [located.where for located in samples] == [f"{tmp_path}/train.jsonl:{line}" for line in (1, 4)]
    assert [problem.partition(": ")[0] for problem in problems] == [f"{tmp_path}/train.jsonl:{line}" for line in (3, 2)]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
parts = st.sampled_from(["image", "text", "target", "answers", "group", "key"])


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.dictionaries(parts, values), min_size=1, max_size=3), st.sampled_from(["train", "test"]))
def test_any_row_is_a_sample_or_refused_with_its_file(tmp_path, rows, split):
    data = JSONLines(tmp_path, **{split: lines(tmp_path, {**ROW, **rows[0]}, *rows)})
    try:
        for sample in data.split(split):
            f"{sample.key} {sample.text} {sample.target} {sample.references} {sample.group}".encode()
    except InputError as error:
        assert "train.jsonl" in str(error)  # noqa: PT017
        str(error).encode()


# Real files


@pytest.mark.skipif(not (SHARED / "daquar").is_dir(), reason=f"no {SHARED / 'daquar'}")
def test_daquar_is_read_by_the_config_that_a_user_would_write():
    import yaml

    config = Path(__file__).resolve().parents[3] / "conf/data/daquar.yaml"
    arguments = yaml.safe_load(config.read_text())["dataset"]["init_args"]
    data = JSONLines(**{**arguments, "root": SHARED / "daquar"})
    sizes = {name: len(data.split(name)) for name in ("train", "val", "test")}
    assert sizes["train"] + sizes["val"] == 6795
    assert sizes["test"] == 5673
    assert sizes["val"] == pytest.approx(680, rel=0.15)
    assert all(sample.image.is_file() for sample in data.split("val"))


def test_a_first_row_without_a_label_loses_no_label(tmp_path):
    rows = [{"image": "0.png", "text": "what?"}, {"image": "1.png", "text": "what?", "answers": "red", "group": "g"}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "train.jsonl").write_text(json.dumps(rows[1]) + "\n")
    samples = JSONLines(tmp_path, train="train.jsonl", test="test.jsonl").split("test")
    assert [sample.references for sample in samples] == [(), ("red",)]
    assert [sample.group for sample in samples] == ["", "g"]

"""Captions of any system are read from the usual file formats; errors name the place of an unusable caption."""

import json
import math
from pathlib import Path

import pytest

from velm_lightning.data.result_files import read_references, read_results, write_results
from velm_lightning.types import InputError, Prediction


@pytest.fixture
def put(tmp_path):
    def put(content, name="results.json") -> Path:
        path = tmp_path / name
        path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())
        return path

    return put


def entry(image=42, caption="a dog") -> dict:
    return {"image_id": image, "caption": caption}


def row(key="42", prediction="a dog", references=("a dog runs", "the dog")) -> Prediction:
    return Prediction(key, "", "", prediction, references, 0.5, 0.1, math.nan)


def refused(read, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Writing


def test_rows_of_an_evaluation_are_written_as_coco_results(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [row("42", "a\ndog"), row("a.jpg", "ein Löwe"), row("007", "")])
    assert json.loads(path.read_text("utf-8")) == [entry(42, "a dog"), entry("a.jpg", "ein Löwe"), entry("007", "")]
    assert read_results(path).captions == {"42": "a dog", "a.jpg": "ein Löwe", "007": ""}


def test_what_was_read_can_be_written(tmp_path, put):
    read = read_results(
        put("".join(json.dumps(prediction._asdict()) + "\n" for prediction in (row("1"), row("2"))), "val.jsonl")
    )
    write_results(tmp_path / "out.json", read.captions)
    assert json.loads((tmp_path / "out.json").read_text()) == [entry(1), entry(2)]


def test_only_one_caption_per_image_is_written(tmp_path):
    assert "image '42' has two captions" in refused(write_results, tmp_path / "a.json", [row(), row()])
    assert "there are no captions to write" in refused(write_results, tmp_path / "a.json", {})
    assert not (tmp_path / "a.json").exists()
    assert "cannot be written (No such file" in refused(write_results, tmp_path / "none/a.json", {"1": "a"})


# Results


def test_results_of_coco(put):
    read = read_results(put([entry(42, "a dog"), entry("Scene_0.png", "")]))
    assert read == ({"42": "a dog", "Scene_0.png": ""}, {})


def test_an_object_of_image_and_caption(put):
    assert read_results(put({"42": ["a dog"], "7": "a cat"})).captions == {"42": "a dog", "7": "a cat"}


def test_predictions_of_a_run_bring_their_references(put):
    path = put(
        "".join(json.dumps(prediction._asdict()) + "\n" for prediction in (row("1"), row("2", "a cat", ()))),
        "test.jsonl",
    )
    assert read_results(path) == ({"1": "a dog", "2": "a cat"}, {"1": ("a dog runs", "the dog"), "2": ()})


def test_text_has_one_caption_per_line(put):
    assert read_results(put("a dog\r\n\n[a] cat\n", "out.txt")).captions == {"1": "a dog", "2": "", "3": "[a] cat"}
    assert read_results(put("a dog", "out")).captions == {"1": "a dog"}


def test_control_characters_become_blanks(put):
    odd = "a\r\ndog\u2028in\x0bthe\x0csnow\u0085 "
    assert read_results(put([entry(caption=odd)])).captions == {"42": "a  dog in the snow"}
    assert read_results(put("a\x0bdog\u2028runs\n", "out.txt")).captions == {"1": "a dog runs"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "results.json: holds no captions: was the file truncated?"),
        ("[]", "results.json: holds no captions"),
        ("{}", "results.json: holds no captions"),
        ([entry(), entry("42")], "results.json:1 (item 2): image '42' is also in"),
        ([entry(caption=None)], "results.json:1 (item 1): caption is null: write a text"),
        ([entry(caption=["a"])], "(item 1): caption is ['a']: write a text"),
        ([entry(image=None)], "(item 1): image_id is None: give a whole number or a name"),
        ([entry(image=4.5)], "(item 1): image_id is 4.5: give a whole number or a name"),
        ([{"image": 42, "caption": "a"}], "(item 1): has no image_id: write"),
        ([{"image_id": 42}], "(item 1): has no caption: write"),
        (["a dog"], "(item 1): 'a dog' is not a record"),
        ('[{"image_id": 42, "caption": "a"},\n {"image_id": 43, "capt', "results.json:2: not JSON at column"),
        ({"42": ["a", "b"]}, "image '42': 2 captions in results: give each image one"),
        ({"42": []}, "image '42': 0 captions in results"),
        ({"42": None}, "image '42': caption is null"),
        ({"images": [], "annotations": []}, "is a file of references: give the results first, then --references"),
    ],
)
def test_unusable_results_are_refused_with_their_location(put, content, message):
    assert message in refused(read_results, put(content))


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({**row()._asdict(), "prediction": None}, "val.jsonl:2: prediction is null"),
        ({**row()._asdict(), "references": "a dog"}, "val.jsonl:2: references are 'a dog': give a list"),
        ({**row()._asdict(), "references": [None]}, "val.jsonl:2: a reference is null"),
        ({"prediction": "a dog"}, "val.jsonl:2: has no key"),
        (row("1")._asdict(), "val.jsonl:2: image '1' is also in"),
    ],
)
def test_unusable_predictions_are_refused_with_their_line(put, predicted, message):
    path = put("\n".join(json.dumps(record) for record in (row("1")._asdict(), predicted)), "val.jsonl")
    assert message in refused(read_results, path)


# References


def test_references_are_read_from_the_files_that_people_have(put):
    expected = {"1": ("a dog", "the dog"), "2": ("a cat",)}
    rows = [entry(1, "a dog"), entry(2, "a cat"), entry("1", "the dog")]
    sentences = [[{"raw": text, "sentid": n} for n, text in enumerate(texts)] for texts in expected.values()]
    files = [
        put({"images": [], "annotations": rows}, "coco.json"),
        put(
            {
                "images": [
                    {"imgid": n, "sentences": sentences_of_image} for n, sentences_of_image in enumerate(sentences, 1)
                ]
            },
            "karpathy.json",
        ),
        put({key: list(texts) for key, texts in expected.items()}, "object.json"),
        put(rows, "list.json"),
        put("".join(json.dumps(row(*fields)._asdict()) + "\n" for fields in (("1", "", expected["1"]),)), "val.jsonl"),
    ]
    for path in files[:-1]:
        assert read_references([path]) == expected, path
    assert read_references(files[-1:]) == {"1": expected["1"]}


def test_several_files_add_to_each_other(put):
    first, second = put({"1": ["a dog"]}, "a.json"), put({"2": ["a cat"], "1": ["the dog"]}, "b.json")
    assert read_references([first, second]) == {"1": ("a dog", "the dog"), "2": ("a cat",)}


def test_text_references_have_a_file_for_each_writer(put):
    first, second = put("a dog\na cat\n", "a.txt"), put("the dog\nthe cat", "b.txt")
    assert read_references([first, second]) == {"1": ("a dog", "the dog"), "2": ("a cat", "the cat")}


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "a.json", "a.json: holds no captions"),
        ({"annotations": []}, "a.json", "a.json: has no list 'annotations'"),
        ({"annotations": [entry(caption=None)]}, "a.json", "a.json: annotations image_id 42: caption is null"),
        ({"annotations": [entry(caption="\n")]}, "a.json", "annotations image_id 42: caption is empty"),
        ({"images": [{"id": 1, "file_name": "a"}]}, "a.json", "images item 1 has no imgid, sentences"),
        ({"1": ["a", None]}, "a.json", "image '1': caption is null"),
        ("a dog\n\na cat", "a.txt", "a.txt:2: caption is empty"),
    ],
)
def test_references_that_cannot_be_scored_against_are_refused(put, content, name, message):
    assert message in refused(read_references, [put(content, name)])


def test_predictions_without_references_give_none(put):
    path = put(json.dumps(row(references=())._asdict()), "val.jsonl")
    assert read_references([path]) == {"42": ()}


def test_text_references_of_different_lengths_are_refused(put):
    paths = [put("a\nb\n", "a.txt"), put("a\n", "b.txt")]
    assert refused(read_references, paths).endswith(f"the same number of lines: {paths[0]} 2, {paths[1]} 1")
    assert "is not plain text" in refused(read_references, [paths[0], put({"1": ["a"]}, "c.json")])

"""Results and references in COCO's files: what is read back, what is refused and where."""

import json

import pytest

from velm_lightning.metrics.captions import score_captions
from velm_lightning.metrics.coco_results import read_references, read_results, write_results
from velm_lightning.types import InputError

from .shared import need


def test_what_was_written_is_read_again_and_numbers_are_numbers(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, {"42": "a dog", "007": "ein Hund läuft", "x": ""})
    assert [row["image_id"] for row in json.loads(path.read_text())] == [42, "007", "x"]
    assert read_results(path) == {"42": "a dog", "007": "ein Hund läuft", "x": ""}


def test_references_are_grouped_by_image(tmp_path):
    path = tmp_path / "references.json"
    rows = [{"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": "b"}, {"image_id": "1", "caption": "c"}]
    path.write_text(json.dumps({"images": [], "annotations": rows}))
    assert read_references(path) == {"1": ("a", "c"), "2": ("b",)}
    path.write_text(json.dumps({"1": ["a", "c"], "2": ["b"]}))
    assert read_references(path) == {"1": ("a", "c"), "2": ("b",)}


def test_the_coco_example_scores_from_its_files():
    results, references = need("coco_fakecap/captions_val2014_fakecap_results.json", "coco_fakecap/gts_tokenized.json")
    scores = score_captions(read_results(results), read_references(references), ["CIDEr-D"])
    assert scores["CIDEr-D"].corpus == pytest.approx(0.5998, abs=5e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("[]", "the file has no captions"),
        ("[{", "line 1: no JSON"),
        ('{"a": 1}', "expected a list of"),
        ('[{"image_id": 1}]', "entry 0: expected image_id and caption"),
        ('[{"image_id": 1, "caption": null}]', "entry 0: the caption of image_id 1 is None; write an empty string"),
        (
            '[{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}]',
            "entry 1: image_id 1 stands there twice",
        ),
    ],
)
def test_a_results_file_that_cannot_be_scored_is_refused_by_place(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_results(path)
    assert str(path) in str(error.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_results(tmp_path / "none.json")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="not text in UTF-8"):
        read_results(tmp_path / "picture.png")


def test_references_without_captions_are_refused(tmp_path):
    path = tmp_path / "references.json"
    path.write_text('{"1": ["a", null]}')
    with pytest.raises(InputError, match="'1': expected a list of captions"):
        read_references(path)

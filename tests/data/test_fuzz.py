"""Any content of a dataset or result file gives samples that can be written, or an InputError."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velm_lightning.data import NLVR, COCOCaptions, FlickrTokens, Karpathy, Multi30k, VQAv2
from velm_lightning.data.result_files import read_references, read_results
from velm_lightning.inspection.verify import read_rows
from velm_lightning.types import InputError

fuzz = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

odd = st.sampled_from(
    [None, True, -1, 1.5, 10**30, "", " ", "\n", "\0", "\ud800", "../x", "/x", "{}", "é\u2028", [], {}]
)
scalars = odd | st.integers() | st.floats() | st.text(max_size=4)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))


def paths(value, at=()):
    """The paths of all values in a JSON value."""
    yield at
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(item, (*at, key))


def changed(data, whole):
    """The JSON value with a few of its values replaced, removed or duplicated."""
    whole = json.loads(json.dumps(whole))
    for at in data.draw(st.lists(st.sampled_from([at for at in paths(whole) if at]), max_size=3)):
        inner = whole
        try:
            for key in at[:-1]:
                inner = inner[key]
            inner[at[-1]] = inner[at[-1]] if isinstance(inner, str) else data.draw(values)
            if isinstance(inner, dict) and data.draw(st.booleans()):
                del inner[at[-1]]
            elif isinstance(inner, list) and data.draw(st.booleans()):
                inner.append(inner[at[-1]])
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change removed this value
    return whole


def damaged(data, content):
    """The bytes with a few of them changed, possibly truncated."""
    content = bytearray(content)
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    return bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)


def put(data, path, whole):
    """Write the file with changed values or changed bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(whole, str):
        content = damaged(data, whole.encode())
    else:
        content = json.dumps(changed(data, whole)).encode()
        content = damaged(data, content) if data.draw(st.booleans()) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def sound(dataset, folder, split):
    """Reading gives samples that can be written to a run's files, or a printable error; a check never raises."""
    problems = []
    for read in (dataset.split, lambda name: [located.sample for located in dataset.read(name, problems)]):
        try:
            for sample in read(split):
                assert isinstance(sample.key, str)
                assert sample.key
                f"{sample.key} {sample.text} {sample.target} {sample.references} {sample.group}".encode()
                images = sample.image if isinstance(sample.image, tuple) else (sample.image,)
                assert all(image.resolve().is_relative_to(folder.resolve()) for image in images)
                for text in (sample.key, sample.text, *sample.references, sample.group, *(sample.target or ())):
                    text.encode()
        except InputError as error:
            str(error).encode()
            assert "\n" not in str(error)  # noqa: PT017
    for problem in problems:
        assert "\n" not in problem


IMAGES = [{"id": n, "file_name": f"{n}.jpg"} for n in range(2)]
CAPTIONS = [{"id": n, "image_id": n % 2, "caption": f"a dog {n}"} for n in range(3)]
COCO = {"images": IMAGES, "annotations": CAPTIONS}
SENTENCES = [{"raw": "a dog", "sentid": 1}, {"raw": "the dog", "sentid": 2}]
KARPATHY = {
    "images": [
        {"imgid": n, "filename": f"{n}.jpg", "filepath": "val2014", "split": "train", "sentences": SENTENCES}
        for n in range(2)
    ]
}
QUESTIONS = {"questions": [{"question_id": n, "image_id": n, "question": "what is it?"} for n in range(2)]}
SAID = [{"answer": "yes"}, {"answer": "no"}]
ANNOTATIONS = {
    "annotations": [{"question_id": n, "image_id": n, "answers": SAID, "answer_type": "yes/no"} for n in range(2)]
}


@fuzz
@given(st.data(), st.sampled_from(["train", "test"]))
def test_coco_captions(tmp_path, data, split):
    put(data, tmp_path / "a.json", COCO)
    sound(COCOCaptions(tmp_path, **{split: Path("a.json")}), tmp_path, split)


@fuzz
@given(st.data())
def test_karpathy(tmp_path, data):
    put(data, tmp_path / "a.json", KARPATHY)
    sound(Karpathy(tmp_path, Path("a.json")), tmp_path, "train")


@fuzz
@given(st.data())
def test_flickr_tokens(tmp_path, data):
    put(data, tmp_path / "Flickr8k.token.txt", "a.jpg#0\tA dog runs .\na.jpg#1\tThe dog\nb.jpg#0\tTwo girls .\n")
    put(data, tmp_path / "Flickr_8k.trainImages.txt", "a.jpg\nb.jpg\n")
    sound(FlickrTokens(tmp_path), tmp_path, "train")


@fuzz
@given(st.data(), st.sampled_from(["train2014", "test2015"]))
def test_vqav2(tmp_path, data, subset):
    put(data, tmp_path / f"v2_OpenEnded_mscoco_{subset}_questions.json", QUESTIONS)
    put(data, tmp_path / f"v2_mscoco_{subset}_annotations.json", ANNOTATIONS)
    sound(VQAv2(tmp_path, train=subset), tmp_path, "train")


@fuzz
@given(st.data(), st.sampled_from(["train", "test"]))
def test_nlvr(tmp_path, data, split):
    row = {"identifier": "72-0", "directory": "5", "sentence": "There is a tower.", "label": "true"}
    put(data, tmp_path / split / f"{split}.json", [row, {**row, "identifier": "73-0"}])
    sound(NLVR(tmp_path, orders=2), tmp_path, split)


@fuzz
@given(st.data())
def test_multi30k(tmp_path, data):
    put(data, tmp_path / "data/task1/raw/val.en.gz", "A dog runs.\nTwo girls play.\n")
    put(data, tmp_path / "data/task1/raw/val.de.gz", "Ein Hund läuft.\nZwei Mädchen spielen.\n")
    put(data, tmp_path / "data/task1/image_splits/val.txt", "1.jpg\n2.jpg#3\n")
    sound(Multi30k(tmp_path), tmp_path, "val")


PREDICTION = {"key": "1", "group": "", "prompt": "", "prediction": "a dog", "references": ["a dog"], "score": 1.0}
RESULTS = {
    "a.json": [{"image_id": 1, "caption": "a dog"}, {"image_id": "b.jpg", "caption": ""}],
    "b.json": {"1": ["a dog"], "2": "a cat"},
    "c.json": COCO,
    "d.json": KARPATHY,
    "e.txt": "a dog\na cat\n",
    "f.json": [{**PREDICTION, "confidence": 0.5, "loss": None}],
}


@fuzz
@given(st.data(), st.sampled_from(sorted(RESULTS)))
def test_results_references_and_predictions(tmp_path, data, name):
    put(data, tmp_path / name, RESULTS[name])
    for read in (read_results, lambda path: read_references([path]), read_rows):
        try:
            captions = read(tmp_path / name)
            repr(captions).encode()
        except InputError as error:
            str(error).encode()
            assert name in str(error)  # noqa: PT017


def test_unpaired_surrogates_in_an_answer_are_replaced(tmp_path):
    answers = [{"answer": text} for text in ("\ud800", " a\nb ")]
    annotation = {**ANNOTATIONS["annotations"][0], "question_id": "q\n1", "answers": answers, "answer_type": "\ud800"}
    asked = {**QUESTIONS["questions"][0], "question_id": "q\n1"}
    (tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json").write_text(json.dumps({"questions": [asked]}))
    (tmp_path / "v2_mscoco_train2014_annotations.json").write_text(json.dumps({"annotations": [annotation]}))
    (sample,) = VQAv2(tmp_path).split("train")
    assert (sample.key, sample.references, sample.group) == ("q 1", ("\ufffd", "a b"), "\ufffd")


@pytest.mark.parametrize("mangled", ["{", "{0}", "{identifier.embeddings}"])
def test_an_invalid_file_name_pattern_is_refused(tmp_path, mangled):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "dev.json").write_text('{"identifier": "1-0", "sentence": "x", "label": "true"}')
    with pytest.raises(InputError, match="pictures: "):
        NLVR(tmp_path, pictures=[mangled]).split("val")

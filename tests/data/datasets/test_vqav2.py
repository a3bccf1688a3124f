"""The official VQA files are read unchanged; errors for inconsistent files name the question."""

import json
from pathlib import Path

import pytest

from velm_lightning.data.datasets.published.vqav2 import VQAv2
from velm_lightning.types import InputError

QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
ANNOTATIONS = "v2_mscoco_{}_annotations.json"


def question(key: int = 42000, image: int = 42, text: str = "What color is it?") -> dict:
    return {"question_id": key, "image_id": image, "question": text}


def annotation(
    key: int = 42000, image: int = 42, answers=("Red",) * 4 + ("red", "blue", "blue", "a", "b", "c")
) -> dict:
    given = [{"answer": a, "answer_confidence": "yes", "answer_id": n} for n, a in enumerate(answers, 1)]
    fields = {"question_type": "what color", "answer_type": "other", "multiple_choice_answer": "red", "answers": given}
    return {"question_id": key, "image_id": image, **fields}


@pytest.fixture
def write(tmp_path):
    def write(questions, annotations=None, subset="train2014") -> VQAv2:
        (tmp_path / QUESTIONS.format(subset)).write_text(json.dumps({"info": {}, "questions": questions}))
        if annotations is not None:
            (tmp_path / ANNOTATIONS.format(subset)).write_text(json.dumps({"info": {}, "annotations": annotations}))
        return VQAv2(tmp_path, test="test-dev2015")

    return write


def refused(data: VQAv2) -> str:
    with pytest.raises(InputError) as caught:
        data.split("train")
    return str(caught.value)


def test_a_question_and_its_annotation_become_a_sample(write, tmp_path):
    (sample,) = write([question()], [annotation()]).split("train")
    assert sample.key == "42000"
    assert sample.image == tmp_path / "train2014/COCO_train2014_000000000042.jpg"
    assert sample.text == "What color is it?"
    assert sample.target == pytest.approx({"red": 1.0, "blue": 2 / 3, "a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert sample.references == ("Red", "Red", "Red", "Red", "red", "blue", "blue", "a", "b", "c")
    assert sample.group == "other"


def test_groups_can_be_question_types(write, tmp_path):
    write([question()], [annotation()])
    assert VQAv2(tmp_path, group="question_type").split("train")[0].group == "what color"


def test_annotations_may_stand_in_any_order(write):
    data = write([question(1), question(2, 7)], [annotation(2, 7), annotation(1)])
    assert [sample.key for sample in data.split("train")] == ["1", "2"]


def test_a_test_subset_has_no_annotations(write, tmp_path):
    (sample,) = write([question()], subset="test-dev2015").split("test")
    assert sample.image == tmp_path / "test2015/COCO_test2015_000000000042.jpg"
    assert (sample.target, sample.references) == (None, ())


def test_images_and_file_names_are_configurable(write, tmp_path):
    write([question()], [annotation()])
    (tmp_path / QUESTIONS.format("train2014")).rename(tmp_path / "q_train2014.json")
    (sample,) = VQAv2(tmp_path, images=Path("/coco"), questions="q_{}.json").split("train")
    assert sample.image == Path("/coco/train2014/COCO_train2014_000000000042.jpg")


def test_validation_can_be_held_out_by_image(write, tmp_path):
    numbers = range(1, 201)
    write([question(n, n % 100) for n in numbers], [annotation(n, n % 100) for n in numbers])
    data = VQAv2(tmp_path, val=None, test="val2014", holdout=0.2)
    train, val = ({sample.image for sample in data.split(name)} for name in ("train", "val"))
    assert len(train) + len(val) == 100
    assert not train & val
    assert 8 < len(val) < 32
    with pytest.raises(InputError, match=r"holdout=0\.2 must .* without `val`"):
        VQAv2(tmp_path, holdout=0.2)


def test_the_standard_subsets_are_the_default(write, tmp_path):
    write([question()], [annotation()], subset="val2014")
    data = VQAv2(tmp_path)
    assert len(data.split("val")) == 1
    assert data.split("test") == []
    with pytest.raises(InputError, match=r"v2_mscoco_train2014_annotations\.json: cannot be read"):
        data.split("train")


@pytest.mark.parametrize(
    ("questions", "annotations", "message"),
    [
        (
            [question(1), question(2)],
            [annotation(1)],
            "questions.json: questions question_id 2: has no annotation in v2_mscoco",
        ),
        ([question(1)], [annotation(1), annotation(2)], "question_id 2: has no question in v2_OpenEnded"),
        ([question(1)], [annotation(1), annotation(2)], "(2 annotations, 1 questions)"),
        ([question(1), question(1)], [annotation(1)], "question_id 1: key '1' is also in"),
        ([question(1)], [annotation(1), annotation(1)], "question_id 1: this question is annotated twice"),
        (
            [question(1, 5)],
            [annotation(1, 6)],
            "annotations.json: annotations question_id 1: image_id differs from the question's 5",
        ),
        ([question(1, text=" ")], [annotation(1)], "question_id 1: question is empty"),
        ([question(1, image="../../a")], [annotation(1)], "image_id '../../a' is not a COCO image number"),
        ([question(1)], [annotation(1, answers=())], "question_id 1: answers are []: give a list of"),
        ([question(1)], [{**annotation(1), "answers": "yes"}], "question_id 1: answers are 'yes': give a list of"),
        ([question(1)], [{**annotation(1), "answers": ["yes"]}], "question_id 1: an answer is 'yes': write"),
        ([question(1)], [{**annotation(1), "answers": [{"answer": 1}]}], "an answer is {'answer': 1}: write"),
        ([{"question_id": 1}], [annotation(1)], "questions item 1 has no image_id, question"),
        ([question(1)], ["text"], "annotations item 1 has no question_id, image_id, answers: 'text'"),
        ([], [annotation(1)], "has no list 'questions'"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_question(write, questions, annotations, message):
    assert message in refused(write(questions, annotations))


def test_the_wrong_kind_of_file_is_refused(write, tmp_path):
    data = write([question()], [annotation()])
    (tmp_path / QUESTIONS.format("train2014")).write_text("[1, 2]")
    assert "has no list 'questions' with anything in it: is it a file of questions?" in refused(data)
    (tmp_path / QUESTIONS.format("train2014")).write_text('{"questions": [{"question_id": 1, "ima')
    assert "questions.json:1: not JSON at column 35" in refused(data)


def test_all_faults_can_be_collected_and_the_rest_kept(write):
    questions = [question(1), question(2), question(3, text=""), question(4)]
    data = write(questions, [annotation(1), annotation(2, answers=()), annotation(3), annotation(5)])
    problems: list[str] = []
    assert [located.sample.key for located in data.read("train", problems)] == ["1"]
    assert [problem.split("question_id ")[1][0] for problem in problems] == ["2", "3", "4", "5"]

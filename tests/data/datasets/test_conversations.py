"""Conversations from files: the three layouts, marks and images, and what training and evaluation make of them."""

import base64
import io
import json
from pathlib import Path

import pytest
from helpers.pictures import smooth

from velm_lightning.data.checks.check import check_dataset
from velm_lightning.data.datasets.conversations import Conversations
from velm_lightning.types import InputError, Turn

CASES = Path(__file__).resolve().parents[4] / "shared/data/cases"
TALK = [
    {"role": "user", "content": "<image>\nWhat is it?"},
    {"role": "assistant", "content": "A cat."},
    {"role": "user", "content": "And here? <image>"},
    {"role": "assistant", "content": "A dog."},
]
IMAGES = ["a.png", "b.png"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(IMAGES):
        (tmp_path / name).write_bytes(png(place))


def png(place):
    written = io.BytesIO()
    smooth(20 + place, 16).save(written, "PNG")
    return written.getvalue()


def of(*rows, split="train", **arguments):
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Conversations(**{split: "rows.jsonl"}, **arguments).split(split)


def only(*rows, **arguments):
    (sample,) = of(*rows, **arguments)
    return sample


def as_sharegpt(messages):
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names[turn["role"]], "value": turn["content"]} for turn in messages]


def refused(row, match):
    with pytest.raises(InputError, match=match) as caught:
        of(row)
    assert str(caught.value).startswith("rows.jsonl:1: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("row", [{"messages": TALK}, {"conversations": as_sharegpt(TALK)}], ids=["openai", "llava"])
def test_each_layout_has_the_same_turns(row):
    sample = only({**row, "images": IMAGES})
    assert sample.turns == (
        Turn("user", (None, "\nWhat is it?")),
        Turn("assistant", ("A cat.",), learned=True),
        Turn("user", ("And here? ", None)),
        Turn("assistant", ("A dog.",), learned=True),
    )
    assert sample.image == (Path("a.png"), Path("b.png"))


@pytest.mark.parametrize(
    "image",
    [
        {"type": "image"},
        {"type": "image", "image": "a.png"},
        {"type": "image", "path": "a.png"},
        {"type": "image_url", "image_url": {"url": "a.png"}},
    ],
)
def test_contents_may_be_lists_of_texts_and_images(image):
    content = [image, {"type": "text", "text": "What is <image>?"}]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": [{"type": "text", "text": "x"}]}]
    sample = only({"messages": messages, **({"images": ["a.png"]} if len(image) == 1 else {})})
    assert sample.turns[0].parts == (None, "What is <image>?")
    assert sample.image == (Path("a.png"),)


def test_an_image_may_stand_in_its_address():
    url = "data:image/png;base64," + base64.b64encode(png(0)).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}]
    (image,) = only({"messages": [{"role": "user", "content": content}, TALK[1]]}).image
    assert bytes(image.tolist()) == png(0)


def test_without_images_a_mark_is_text():
    sample = only({"messages": TALK})
    assert sample.image == ()
    assert sample.turns[0].parts == ("<image>\nWhat is it?",)


def test_without_marks_images_precede_the_first_question():
    system = {"role": "system", "content": "Be short."}
    sample = only({"messages": [system, {"role": "user", "content": "Same?"}, TALK[1]], "images": IMAGES})
    assert sample.turns[1].parts == (None, None, "Same?")


def test_a_mark_in_a_reply_is_text():
    messages = [TALK[0], {"role": "assistant", "content": "write <image>"}]
    assert only({"messages": messages, "image": "a.png"}).turns[1].parts == ("write <image>",)


def test_training_learns_every_reply_of_one_sample():
    sample = only({"id": "talk", "messages": TALK, "images": IMAGES})
    assert (sample.key, sample.target, sample.references) == ("talk", "A dog.", ("A dog.",))
    assert sample.text == "What is it? A cat. And here?"
    assert [turn.learned for turn in sample.turns] == [False, True, False, True]


def test_evaluation_has_one_sample_per_reply():
    first, second = of({"id": 7, "messages": TALK, "images": IMAGES}, split="val")
    assert [(sample.key, sample.group, sample.target) for sample in (first, second)] == [
        ("7-1", "turn 1", "A cat."), ("7-2", "turn 2", "A dog.")
    ]  # fmt: skip
    assert (first.image, len(first.turns)) == ((Path("a.png"),), 2)
    assert [turn.learned for turn in second.turns] == [False, False, False, True]


def test_a_reply_without_weight_is_neither_learned_nor_scored():
    messages = [TALK[0], TALK[1] | {"weight": 0}, *TALK[2:]]
    row = {"messages": messages, "images": IMAGES}
    assert [turn.learned for turn in only(row).turns] == [False, False, False, True]
    assert [sample.target for sample in of(row, split="val")] == ["A dog."]


def test_a_last_question_is_left_out_and_alone_is_predicted():
    assert len(only({"messages": TALK[:3], "images": ["a.png", "b.png"]}).turns) == 2
    alone = only({"messages": TALK[:1], "images": ["a.png"]}, split="test")
    assert (alone.target, alone.references, len(alone.turns)) == (None, (), 1)


def test_line_breaks_stay_and_names_are_composed():
    sample = only({"messages": [{"role": "user", "content": "a\n\tb cafe\u0301 \ud800"}, TALK[1]]})
    assert sample.turns[0].parts == ("a\n\tb caf\u00e9 \ufffd",)
    assert sample.text == "a  b caf\u00e9 \ufffd"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"images": ["a.png"]}, r"2 marks \(<image>\) and 1 images: give one image per mark"),
        ({"images": [*IMAGES, "a.png"]}, "2 marks .* and 3 images"),
        ({"images": ["a.png", "../b.png"]}, "image '../b.png' leads out of"),
        ({"images": ["a.png", "https://x.org/b.png"]}, "is an address: download it"),
        ({"images": ["a.png", "data:image/png;base64,%"]}, "image "),
        ({"drawing": "a.png"}, "column 'drawing' names the image 'a.png': set columns.image"),
        ({"messages": []}, "no turns in a column messages or conversations"),
        ({"messages": ["hello"]}, "'hello' is no turn"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "the role 'critic' is unknown: use one of system"),
        ({"messages": [{"role": "user", "content": 3}]}, "the content 3 is neither a text nor a list"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "neither a text nor an image"),
        ({"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}, "an image stands in a reply"),
        ({"messages": [TALK[1]], "images": IMAGES}, "2 images, but no turn of the user"),
        ({"messages": [TALK[1] | {"weight": 0}]}, "no reply is learned"),
        ({"id": [1]}, r"id is \[1\]: give a text or a whole number"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(change, match):
    refused({"messages": TALK, **change}, match)


def test_a_file_without_conversations_is_refused():
    with pytest.raises(InputError, match="holds no rows"):
        of()


def test_the_check_lists_every_fault_of_a_file():
    rows = [{"messages": TALK, "images": IMAGES[:1]}, {"messages": TALK, "images": ["a.png", "gone.png"]}, {"a": 1}]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    problems = "\n".join(problem.message for problem in check_dataset(Conversations(train="rows.jsonl")).problems)
    assert "rows.jsonl:1: 2 marks" in problems
    assert "gone.png" in problems
    assert "rows.jsonl:3: no turns" in problems


def test_held_out_conversations_share_no_image():
    rows = [{"messages": TALK[:2], "images": [IMAGES[n % 2]]} for n in range(6)]
    rows += [{"id": f"text {n}", "messages": [{"role": "user", "content": "Hi"}, TALK[1]]} for n in range(40)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = Conversations(train="rows.jsonl", holdout=0.4)
    parts = [{sample.image for sample in dataset.split(name) if sample.image} for name in ("train", "val")]
    assert not parts[0] & parts[1]
    assert len(dataset.split("train")) + len(dataset.split("val")) == len(rows)
    assert len(dataset.split("val")) > 5


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize(
    ("name", "counts"), [("llava.json", (1, 4)), ("messages.jsonl", (1, 4)), ("two_pictures.jsonl", (2, 2))]
)
def test_files_of_other_tools_are_read(name, counts):
    dataset = Conversations(root=CASES, train=f"conversations/{name}", images="photos")
    samples = dataset.split("train")
    assert len(samples) == 8
    assert {(len(sample.image), len(sample.turns)) for sample in samples} == {counts}
    assert check_dataset(dataset, progress=False).ok

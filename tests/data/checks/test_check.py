"""A check finds every fault of a dataset at once, each with its file and line."""

import json
import os
from io import StringIO

import pytest
import torch
from helpers.pictures import png_header, smooth
from rich.console import Console

from velm_lightning.data.checks.check import check_dataset
from velm_lightning.data.datasets.jsonlines import JSONLines
from velm_lightning.data.datasets.published.vqav2 import VQAv2
from velm_lightning.types import Dataset, Sample


def row(image: str, text: str = "what is it?", answers: object = "cat", **more: object) -> str:
    return json.dumps({"image": image, "text": text, "answers": answers, **more})


FAULTS = [  # a faulty row of train.jsonl, or a row with a faulty image, and the message about it
    (row("missing.jpg"), "missing.jpg: no such image file"),
    (row("empty.jpg"), "empty.jpg: the file is empty"),
    (row("cut.jpg"), "cut.jpg: cannot be read as an image"),
    (row("text.jpg"), "text.jpg: is not a JPEG"),
    (row("bomb.png"), "bomb.png: claims"),
    (row("folder.jpg"), "folder.jpg: no such image file"),
    (row("../outside.png"), "image '../outside.png' leads out of"),
    (row("link.png"), "image 'link.png' leads out of"),
    (row("/etc/passwd"), "image '/etc/passwd' is an absolute file name"),
    (row(""), "image '' is not a file name"),
    (row("0.png", text=""), "text is empty"),
    (row("0.png", text="\r\v\u2028"), "text is empty"),
    (row("0.png", answers=""), "an answer is empty"),
    (row("0.png", answers=[]), "the answers are empty"),
    (row("0.png", answers=[["cat"]]), "an answer is ['cat']"),
    (row("0.png", answers={"cat": 2}), "answer 'cat' weighs 2"),
    (row("0.png", key="twice"), None),
    (row("0.png", key="twice"), "key 'twice' is also in"),
    (row("0.png", key=""), "key is empty"),
    ('{"image": "0.png", "text": "cut', "not JSON at column"),
    ('["0.png", "a list"]', "is not a record"),
    ('{"image": "0.png", "answers": "cat"}', "no column 'text'"),
    (row("copy.png"), None),  # has the content of an image of the test split
]


@pytest.fixture
def faulty(tmp_path):
    """A folder with one of each fault."""
    root = tmp_path / "root"
    images = root / "images"
    (images / "folder.jpg").mkdir(parents=True)
    for number in range(4):
        smooth(40 + number, 30).save(images / f"{number}.png")
    (images / "copy.png").write_bytes((images / "3.png").read_bytes())
    (images / "empty.jpg").touch()
    smooth(99, 80).save(images / "cut.jpg")
    os.truncate(images / "cut.jpg", 900)
    (images / "text.jpg").write_text("I am no picture")
    (images / "bomb.png").write_bytes(png_header(30_000, 30_000))
    smooth(9, 9).save(tmp_path / "outside.png")
    (images / "link.png").symlink_to(tmp_path / "outside.png")
    smooth(9, 9).save(images / "-unused.png")
    keyed = (
        fault if '"key"' in fault else fault.replace('"image"', f'"key": {n}, "image"')
        for n, (fault, _) in enumerate(FAULTS)
    )
    (root / "train.jsonl").write_text("\n".join([row("1.png", key="first"), *keyed]))
    (root / "val.csv").write_bytes('key,image,text,answers\n1,2.png,"über",cat\n'.encode("latin-1"))
    (root / "test.json").write_text(f"[{row('3.png', answers='dog', key='t')},\n{row('0.png', key='u')}")
    return JSONLines(root, "train.jsonl", "val.csv", "test.json", "images")  # fmt: skip


def test_every_planted_fault_is_found_with_its_file_and_line(faulty):
    report = check_dataset(faulty, progress=False)
    messages = [problem.message for problem in report.problems]
    for line, (_, message) in enumerate(FAULTS, 2):
        if message is not None:
            assert [m for m in messages if m.startswith(f"{faulty.root}/train.jsonl:{line}: ") and message in m], (
                line,
                message,
            )
    assert [m for m in messages if m.startswith(f"{faulty.root}/val.csv:2: byte 0xfc is not UTF-8")]
    assert [m for m in messages if m.startswith(f"{faulty.root}/test.json:2: the list is cut at column ")]
    copied = len(FAULTS) + 1
    (shared,) = (message for message in messages if "2 images of test are also in train, by content: " in message)
    assert f"3.png ({faulty.root}/test.json:1 (item 1)) is {faulty.images}/copy.png" in shared
    assert f"train.jsonl:{copied}" in shared
    assert f"0.png ({faulty.root}/test.json:2 (item 2)) is {faulty.images}/0.png" in shared
    planted = sum(message is not None for _, message in FAULTS) + 3
    assert len(messages) == planted, "\n".join(messages)  # and nothing else
    assert not report.ok
    assert ["1 of 2 in test have no answer" in note for note in report.notes] == [True, False]
    assert "are in no row that can be used; the first is" in report.notes[1]
    assert report.notes[1].endswith("-unused.png")


@pytest.fixture
def sound(tmp_path):
    for number in range(6):
        smooth(40 + number, 30).save(tmp_path / f"{number}.png")
    for split, numbers, answer in (("train", (0, 1, 1, 2), "cat"), ("val", (3,), "dog"), ("test", (4, 5), "cat")):
        lines = [row(f"{n}.png", f"what is it {'very ' * n}?", answer, group=f"g{n % 2}") for n in numbers]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    return JSONLines(tmp_path, "train.jsonl", "val.jsonl", "test.jsonl")


def test_a_sound_dataset_is_summarised(sound):
    report = check_dataset(sound, progress=False)
    assert report.ok, report.problems
    train, val = report.splits["train"], report.splits["val"]
    assert (train.samples, train.images, train.answers, train.unknown) == (4, 3, 1, 0.0)
    assert train.groups == {"g0": 2, "g1": 2}
    assert train.prompts == (5, 6, 6, 6)
    assert train.targets == (0, 0, 0, 0)
    assert val.unknown == 1.0
    assert report.notes[0].startswith("1 of 1 in val have no answer among the 1 of train; the first is ")


def test_the_vocabulary_can_be_bounded(sound):
    assert check_dataset(sound, answers=0, progress=False).splits["test"].unknown == 1.0


def test_the_report_is_printed_with_its_figures_and_faults(faulty, sound):
    console = Console(file=StringIO(), width=100)
    check_dataset(sound, progress=False).print(console)
    check_dataset(faulty, progress=False).print(console)
    printed = console.file.getvalue()
    for heading in ("Samples by group", "no problems", "problems with rows:", "problems with images:", "with splits:"):
        assert heading in printed
    assert "train.jsonl:2: " in printed


def test_a_dataset_of_tensors_is_checked_too():
    class InMemory(Dataset):
        def split(self, name):
            block = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
            block[1], block[2] = 7, 8
            samples = [
                Sample("a", block[0], "what?", "a cat", ("a cat",)),
                Sample("a", block[1], "", "", ()),
                Sample("b", block[2].float(), "what?", {}, ()),
            ]
            return samples[:1] if name == "test" else samples if name == "train" else []

    problems = [(problem.kind, problem.message.partition(": ")[0]) for problem in check_dataset(InMemory()).problems]
    assert ("keys", "train, key a") in problems
    assert problems.count(("texts", "train, key a")) == 2
    assert ("texts", "train, key b") in problems
    assert ("images", "train, key b") in problems
    assert ("splits", "1 images of test are also in train, by content") in problems
    assert len(problems) == 6


def test_no_samples_at_all_and_files_that_are_not_there(tmp_path):
    report = check_dataset(VQAv2(tmp_path), progress=False)
    assert [problem.kind for problem in report.problems] == ["rows", "rows"]
    assert "v2_mscoco_train2014_annotations.json: cannot be read" in report.problems[0].message


def test_a_dataset_without_samples_is_a_problem():
    class Empty(Dataset):
        def split(self, name):
            return []

    assert check_dataset(Empty(), progress=False).problems == [
        ("splits", "Empty has no samples in any split: see its arguments")
    ]


def test_a_wrong_column_is_one_problem(tmp_path):
    """That no rows can be read follows from it."""
    (tmp_path / "train.jsonl").write_text('{"image": "a.jpg", "text": "a", "answer": "b"}\n')
    report = check_dataset(JSONLines(tmp_path, "train.jsonl", columns={"answers": "anwser"}), progress=False)
    (problem,) = report.problems
    assert problem.message.endswith(
        "train.jsonl:1: no column 'anwser' (columns.answers, did you mean 'answer'?) in 'image, text, answer': "
        "correct the names"
    )


@pytest.fixture
def sharing(tmp_path):
    """Three splits; 30 images of train are in val under other names, and one is in test."""
    for number in range(40):
        smooth(40 + number, 30).save(tmp_path / f"{number:02}.png")
        (tmp_path / f"copy{number:02}.png").write_bytes((tmp_path / f"{number:02}.png").read_bytes())
    names = {"train": range(40), "val": range(30), "test": range(39, 40)}
    for split, numbers in names.items():
        start = "" if split == "train" else "copy"
        (tmp_path / f"{split}.jsonl").write_text("\n".join(row(f"{start}{n:02}.png") for n in numbers))
    return JSONLines(tmp_path, "train.jsonl", "val.jsonl", "test.jsonl")


def test_shared_images_are_one_problem_for_each_two_splits(sharing):
    problems = check_dataset(sharing, progress=False).problems
    assert [problem.message.partition(":")[0] for problem in problems] == [
        "30 images of val are also in train, by content",
        "1 images of test are also in train, by content",
    ]
    assert "; and 28 more: keep an image in one split, or put both files into `train`" in problems[0].message
    whole = check_dataset(sharing, progress=False, examples=100).problems[0].message
    assert all(f"copy{n:02}.png" in whole for n in range(30))


def test_official_splits_that_share_images_are_noted(sharing, monkeypatch):
    monkeypatch.setattr(type(sharing), "official", True)
    report = check_dataset(sharing, progress=False)
    assert report.ok
    assert len([note for note in report.notes if note.endswith("as in the published splits")]) == 2


def test_a_held_out_split_never_shares_a_image(sharing, tmp_path):
    lines = [*(f"{n:02}.png" for n in range(40)), *(f"copy{n:02}.png" for n in range(40))]
    (tmp_path / "all.jsonl").write_text("\n".join(map(row, lines)))
    for share in (0.1, 0.3, 0.5):
        report = check_dataset(JSONLines(tmp_path, "all.jsonl", holdout=share), progress=False)
        assert report.ok, report.problems
        assert report.splits["val"].samples > 0
        assert sum(report.splits[name].samples for name in ("train", "val")) == 80


def test_evaluation_samples_without_references_are_noted(tmp_path):
    smooth(40, 30).save(tmp_path / "0.png")
    smooth(41, 30).save(tmp_path / "1.png")
    (tmp_path / "train.jsonl").write_text(row("0.png"))
    (tmp_path / "test.jsonl").write_text("\n".join(row("1.png", answers=answers) for answers in ("cat", None, [])))
    report = check_dataset(JSONLines(tmp_path, "train.jsonl", test="test.jsonl"), progress=False)
    assert report.ok
    assert report.notes[0].startswith("2 of 3 samples in test have no references and get no score; the first is ")


def test_a_group_is_printed_as_it_is_written(tmp_path, capsys):
    root = tmp_path
    smooth(20, 16).save(root / "0.png")
    rows = [json.loads(row("0.png", group=name, key=name)) for name in ("[/b]", "[red]x")]
    (root / "train.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    check_dataset(JSONLines(root, train="train.jsonl"), progress=False).print(Console())
    printed = capsys.readouterr().out
    assert "[/b]" in printed
    assert "[red]x" in printed

"""Digits with a question: correct answers that depend on both the digit and the question."""

import gzip
import struct
from collections import Counter, defaultdict

import pytest
import torch

from velm_lightning.data import Digits
from velm_lightning.data.datasets.digits import QUESTIONS
from velm_lightning.types import InputError

pytest.importorskip("sklearn")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@pytest.fixture(scope="module")
def data():
    return Digits(train=600)


@pytest.fixture(scope="module")
def truth():
    from sklearn.datasets import load_digits

    digits = load_digits().target.tolist()
    begins = {"train": 0, "val": 0, "test": len(digits) - 300}
    return lambda sample: digits[begins[sample.key.split("-")[0]] + int(sample.key.split("-")[1])]


def answer(digit, question):
    """Answer by parsing the question, without code of the dataset."""
    words = question.removesuffix("?").split()
    if words[0] == "is":
        holds = {"even": digit in (0, 2, 4, 6, 8), "odd": digit in (1, 3, 5, 7, 9)}
        holds |= {"larger": digit > NUMBERS.index(words[-1] if words[-1] in NUMBERS else "ten")}
        holds |= {"smaller": digit < NUMBERS.index(words[-1] if words[-1] in NUMBERS else "ten")}
        return "yes" if holds[words[2]] else "no"
    if words[:2] == ["what", "digit"]:
        return str(digit)
    left, sign, right = words[2:]
    value = {"it": digit} | {word: number for number, word in enumerate(NUMBERS)}
    return str(value[left] + value[right] if sign == "plus" else value[left] - value[right])


def test_every_answer_is_right(data, truth):
    for name in ("train", "val", "test"):
        for sample in data.split(name):
            assert sample.references == (answer(truth(sample), sample.text),), sample
            assert sample.target == {sample.references[0]: 1.0}


def test_the_splits_share_no_digit_and_keys_are_unique(data):
    pictures = [{s.image.numpy().tobytes() for s in data.split(name)} for name in ("train", "val", "test")]
    assert [len(images) for images in pictures] == [600, 300, 300]
    assert not pictures[0] & pictures[1]
    assert not (pictures[0] | pictures[1]) & pictures[2]
    keys = [sample.key for name in ("train", "val", "test") for sample in data.split(name)]
    assert len(set(keys)) == len(keys) == 1200 * 8


def accuracy(data, cue):
    """The share of test samples whose answer is the most frequent training answer for their cue."""
    answers = defaultdict(Counter)
    for sample in data.split("train"):
        answers[cue(sample)][sample.references[0]] += 1
    samples = data.split("test")
    return sum(answers[cue(s)].most_common(1)[0][0] == s.references[0] for s in samples) / len(samples)


def test_neither_the_words_nor_the_digit_give_the_answer_away(data, truth):
    assert accuracy(data, lambda sample: sample.text) < 0.3
    assert accuracy(data, truth) < 0.35
    assert accuracy(data, lambda sample: (sample.text, truth(sample))) == 1


def test_every_question_is_asked_and_has_its_group(data):
    asked = Counter(sample.text for sample in data.split("train"))
    assert set(asked) == set(QUESTIONS)
    assert max(asked.values()) < 1.3 * min(asked.values())
    assert {sample.group for sample in data.split("train")} == {"read", "plus", "minus", "compare"}


def test_same_seed_same_questions_whatever_the_number(data):
    again = Digits(train=20, val=10)
    for before, after in zip(data.split("train"), again.split("train"), strict=False):
        assert before._replace(image=0) == after._replace(image=0)
        assert torch.equal(before.image, after.image)
    assert again.split("val")[-1].references == data.split("val")[-1].references
    assert [s.text for s in Digits(train=20, seed=1).split("train")] != [s.text for s in again.split("train")]


def test_images_are_of_the_size_asked_for():
    (image,) = {s.image.shape for s in Digits(train=1, size=48).split("train")}
    assert image == (3, 48, 48)


def test_mnist_is_read_from_torchvisions_files(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 6), ("t10k", 4)):
        pixels, labels = bytes(range(count)) * 784, bytes(place % 10 for place in range(count))
        for name, header, body in (
            ("images-idx3-ubyte", struct.pack(">4i", 0x803, count, 28, 28), pixels),
            ("labels-idx1-ubyte", struct.pack(">2i", 0x801, count), labels),
        ):
            (raw / f"{part}-{name}").write_bytes(header + body)
            (raw / f"{part}-{name}.gz").write_bytes(gzip.compress(header + body))
    data = Digits(train=4, val=2, test=4, questions_per_digit=12, mnist=tmp_path)
    read = {name: [s.references[0] for s in data.split(name) if s.group == "read"] for name in ("train", "val", "test")}
    assert read == {"train": ["0", "1", "2", "3"], "val": ["4", "5"], "test": ["0", "1", "2", "3"]}
    assert data.split("test")[0].image.shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": 1400}, "train \\+ val is 1700, but the file has 1497"),
        ({"questions_per_digit": 13}, "from 1 to 12"),
        ({"size": 4}, "size=4"),
    ],
)
def test_numbers_that_cannot_be_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Digits(**given).split("train")

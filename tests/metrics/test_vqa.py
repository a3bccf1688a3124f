"""VQA accuracy: hand-built cases, a plain retelling of the official script as a second witness, refusals, processes."""

import random
import re

import pytest
import torch
from helpers.vqa_cases import NORMALISE, SCORES

from velm_lightning.metrics._vqa_words import CONTRACTIONS
from velm_lightning.metrics.vqa import VQAAccuracy, normalise_answer, vqa_accuracy, vqa_mean, vqa_percent, vqa_scores
from velm_lightning.types import InputError

PROTOCOLS = ("official", "pre-2021", "always")
NORMALISE_ROWS = [(rule, *row) for rule, rows in NORMALISE.items() for row in rows]
SCORE_ROWS = [(rule, *row) for rule, rows in SCORES.items() for row in rows]


def expand(counts):
    return [answer for answer, count in counts.items() for _ in range(count)]


def test_the_hand_built_cases_are_at_least_200():
    assert len(NORMALISE_ROWS) + 3 * len(SCORE_ROWS) >= 400
    assert len(NORMALISE_ROWS) >= 200


@pytest.mark.parametrize(("rule", "written", "compared"), NORMALISE_ROWS)
def test_normalisation(rule, written, compared):
    assert normalise_answer(written) == compared, rule


@pytest.mark.parametrize(("rule", "prediction", "counts", "official", "before", "always"), SCORE_ROWS)
def test_score(rule, prediction, counts, official, before, always):
    scores = [vqa_accuracy(prediction, expand(counts), protocol) for protocol in PROTOCOLS]
    assert scores == pytest.approx([official, before, always], abs=1e-15), rule


def witness_normalise(text, words=True):
    """The steps of the script, written plainly."""
    original = text
    for mark in [
        ";",
        "/",
        "[",
        "]",
        '"',
        "{",
        "}",
        "(",
        ")",
        "=",
        "+",
        "\\",
        "_",
        "-",
        ">",
        "<",
        "@",
        "`",
        ",",
        "?",
        "!",
    ]:
        near_blank = mark + " " in original or " " + mark in original
        number = re.search("(\\d)(\\,)(\\d)", original) is not None
        text = text.replace(mark, "") if near_blank or number else text.replace(mark, " ")
    text = re.sub("(?!<=\\d)(\\.)(?!\\d)", "", text, count=32)
    if not words:
        return text
    digits = {"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5"}
    digits |= {"six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"}
    words = [digits.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def witness_score(prediction, answers, protocol):
    """The script's loop: each annotator in turn is left out."""

    def blank(text):
        return text.replace("\n", " ").replace("\t", " ").strip()

    prediction = blank(prediction)
    if protocol != "pre-2021":
        answers = [blank(answer) for answer in answers]
    differ = len(set(answers)) > 1
    if protocol == "pre-2021" or protocol == "always" or differ:
        prediction = witness_normalise(prediction)
    if differ or protocol == "always":
        answers = [witness_normalise(answer, words=protocol != "pre-2021") for answer in answers]
    scores = []
    for left_out in range(len(answers)):
        others = answers[:left_out] + answers[left_out + 1 :]
        scores.append(min(1, sum(other == prediction for other in others) / 3))
    return sum(scores) / len(scores)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_answers_score_as_in_the_script(protocol):
    rng = random.Random(0)
    pieces = [
        "yes",
        "No",
        "two",
        "2",
        "the",
        "a",
        ",",
        ".",
        "-",
        " ",
        "  ",
        "/",
        "1,000",
        "5.",
        "dont",
        "'",
        "!",
        "\n",
        "?",
        "\t",
    ]
    for _ in range(3000):
        pool = ["".join(rng.choices(pieces, k=rng.randint(0, 5))) for _ in range(rng.randint(1, 3))]
        answers = [rng.choice(pool) for _ in range(rng.randint(4, 12))]
        prediction = rng.choice([*pool, pool[0].upper(), f" {pool[0]}."])
        assert vqa_accuracy(prediction, answers, protocol) == pytest.approx(
            witness_score(prediction, answers, protocol), abs=1e-12
        )


def test_a_split_is_scored_by_row_and_shown_in_percent():
    scores = vqa_scores(["yes", "no", "no"], [["yes"] * 10, ["no"] + ["yes"] * 9, ["yes"] * 10])
    assert scores.tolist() == [1.0, 0.3, 0.0]
    assert vqa_mean(scores) == pytest.approx(1.3 / 3)
    assert vqa_percent(scores) == 43.33


@pytest.mark.parametrize(
    ("prediction", "answers", "protocol", "message"),
    [
        ("yes", [], "official", "the list is empty"),
        ("yes", "yes", "official", "one string per annotator"),
        ("yes", ["yes", None], "official", "got None among them"),
        (None, ["yes"], "official", "empty string for no answer"),
        ("yes", ["yes"], "2021", "'2021' is not one of official, pre-2021, always"),
    ],
)
def test_invalid_arguments_are_refused(prediction, answers, protocol, message):
    with pytest.raises(InputError, match=message):
        vqa_accuracy(prediction, answers, protocol)


def test_a_refused_row_of_a_split_is_named():
    with pytest.raises(InputError, match="question 1: answers: the list is empty"):
        vqa_scores(["yes", "yes"], [["yes"], []])
    with pytest.raises(InputError, match="1 predictions for 2 questions"):
        vqa_scores(["yes"], [["yes"], ["no"]])
    with pytest.raises(InputError, match="the split is empty"):
        vqa_percent([])


def test_the_metric_equals_the_function_and_can_be_reset():
    metric = VQAAccuracy()
    metric.update(["yes", "no"], [["yes"] * 10, ["no"] + ["yes"] * 9])
    metric.update(["no"], [["yes"] * 10])
    assert metric.compute() == torch.tensor(1.3 / 3, dtype=torch.float64)
    metric.reset()
    metric.update([], [])
    with pytest.raises(InputError, match="the split is empty"):
        metric.compute()


def test_a_process_without_samples_does_not_change_the_figure():
    busy = VQAAccuracy()
    busy.update(["yes", "no"], [["yes"] * 10, ["yes"] * 10])
    idle = VQAAccuracy(
        dist_sync_fn=lambda state, group: [*busy.kept_bytes, state], distributed_available_fn=lambda: True
    )
    idle.update([], [])
    assert idle.compute() == 0.5


def test_the_metric_refuses_an_unknown_protocol_when_it_is_made():
    with pytest.raises(InputError, match="protocol: 'new'"):
        VQAAccuracy(protocol="new")

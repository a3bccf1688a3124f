"""VQA accuracy by the official script, in the three variants that published numbers were computed with.

Definition: Antol et al. 2015, "VQA: Visual Question Answering", and ``vqaEval.py`` of github.com/GT-Vision-Lab/VQA.
The peculiarities of the script are reproduced, because published numbers include them:

- punctuation is decided per character, on the whole answer: removed if it touches a blank anywhere in the
  answer, or if the answer has a comma between two digits anywhere; otherwise it becomes a blank;
- a period is removed unless a digit follows ("5." gives "5", "a.m." gives "am", ".5" and "3.5" stay), and at most 32 of
  them, because ``re.UNICODE`` is passed to ``sub`` as the largest number of replacements;
- words are lower-cased before the contractions are looked up, so that "im" and "id've" are never restored;
- an apostrophe, a colon, "&", "%", "$", "#" and "*" are left unchanged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from velm_lightning.metrics._rows import RowsMetric
from velm_lightning.metrics._vqa_words import ARTICLES, CONTRACTIONS, NUMBERS, PUNCTUATION
from velm_lightning.types import InputError

VQAProtocol = Literal["official", "pre-2021", "always"]
"""``official``: the script since 2021. ``pre-2021``: the one before. ``always``: normalise all answers."""

_PERIOD = re.compile(r"\.(?!\d)")  # the script's `(?!<=\d)` looks for a literal "<=" and never fails
_DIGIT_COMMA = re.compile(r"\d,\d")
_MOST_PERIODS = int(re.UNICODE)  # 32


def clean_whitespace(answer: str) -> str:
    """Turn line ends and tabs into blanks and strip both ends: the script's first step."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 16)
def clean_punctuation(answer: str) -> str:
    """Remove or blank each punctuation mark, then remove periods: the script's ``processPunctuation``."""
    digit_comma = _DIGIT_COMMA.search(answer) is not None
    text = answer
    for mark in PUNCTUATION:
        if mark in answer:
            remove = digit_comma or mark + " " in answer or " " + mark in answer
            text = text.replace(mark, "" if remove else " ")
    return _PERIOD.sub("", text, count=_MOST_PERIODS)


@lru_cache(maxsize=1 << 16)
def clean_words(answer: str) -> str:
    """Lower the case, write small numbers as digits, drop articles, restore apostrophes: ``processDigitArticle``."""
    words = (NUMBERS.get(word, word) for word in answer.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def normalise_answer(answer: str) -> str:
    """Normalise an answer as the official script does: whitespace, punctuation, words, in that order.

    >>> normalise_answer("The  red/blue car, at 5 p.m.")
    'red blue car at 5 pm'
    """
    return clean_words(clean_punctuation(clean_whitespace(answer)))


def vqa_accuracy(prediction: str, answers: Sequence[str], protocol: VQAProtocol = "official") -> float:
    """Score one prediction against its annotators: the mean, over leaving each one out, of min(1, matches / 3).

    With four annotators or more this is the official formula: of ten, 1, 2, 3 matching give 0.3, 0.6, 0.9, and four
    give 1. With fewer annotators the formula cannot reach 1, so the divisor is the number of the other annotators (an
    answer that all gave scores 1); with a single annotator the score is exact match.

    Args:
        prediction: the answer of the system, as written.
        answers: one answer per annotator, as written, with repetitions.
        protocol: ``official`` normalises both sides only if the answers, stripped, are not all the same. ``pre-2021``
            always normalises the prediction, but only the punctuation of the answers, and only if they differ.
            ``always`` normalises both sides.

    Returns:
        A score from 0 to 1.

    Raises:
        InputError: If there are no answers, an answer or the prediction is not a string, or the protocol is unknown.
    """
    _check(prediction, answers, protocol)
    prediction, answers = _prepare(prediction, answers, protocol)
    return _agreement(sum(answer == prediction for answer in answers), len(answers))


def vqa_scores(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], protocol: VQAProtocol = "official"
) -> NDArray[np.float64]:
    """Score N predictions, each against its annotators: ``vqa_accuracy`` for a whole split.

    Returns:
        (N,) scores from 0 to 1; their mean is the accuracy, see `vqa_mean`.

    Raises:
        InputError: If the lengths differ, or `vqa_accuracy` raises for a row; the message gives its index.
    """
    if len(predictions) != len(answers):
        raise InputError(
            f"{len(predictions)} predictions for {len(answers)} questions: give one prediction per question"
        )
    scores = np.empty(len(predictions))
    for place, (prediction, given) in enumerate(zip(predictions, answers, strict=True)):
        try:
            scores[place] = vqa_accuracy(prediction, given, protocol)
        except InputError as error:
            raise InputError(f"question {place}: {error}") from None
    return scores


def vqa_mean(scores: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the accuracy from 0 to 1: the mean score, summed exactly, so that it does not depend on the order.

    Raises:
        InputError: there are no scores.
    """
    if len(scores) == 0:
        raise InputError("no scores to average: the split is empty")
    return math.fsum(scores) / len(scores)


def vqa_percent(scores: Sequence[float] | NDArray[np.float64]) -> float:
    """Return `vqa_mean` in percent, rounded to 2 decimals as the official script prints it: for display only."""
    return round(100 * vqa_mean(scores), 2)


class VQAAccuracy(RowsMetric):
    """VQA accuracy from 0 to 1 over all batches, bitwise the same for any number of processes.

    Keeps one score per sample and sums them exactly (``math.fsum``), because a plain sum depends on the order.
    """

    higher_is_better = True

    def __init__(self, protocol: VQAProtocol = "official", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.protocol = _known(protocol)

    def update(self, predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> None:
        """Add a batch: B predictions and the answers of the annotators of each; raises as `vqa_scores`."""
        self.keep(vqa_scores(predictions, answers, self.protocol).tolist())

    def compute(self) -> Tensor:
        """Return the accuracy as a float64 scalar.

        Raises:
            InputError: If no prediction was added.
        """
        return torch.tensor(vqa_mean(self.kept()), dtype=torch.float64)


def _prepare(prediction: str, answers: Sequence[str], protocol: VQAProtocol) -> tuple[str, Sequence[str]]:
    """Return the prediction and the answers in the form in which the protocol compares them."""
    if protocol == "pre-2021":
        differ = any(answer != answers[0] for answer in answers)
        return normalise_answer(prediction), [clean_punctuation(a) for a in answers] if differ else answers
    prediction, answers = clean_whitespace(prediction), [clean_whitespace(answer) for answer in answers]
    if protocol == "official" and all(answer == answers[0] for answer in answers):
        return prediction, answers
    return normalise_answer(prediction), [normalise_answer(answer) for answer in answers]


def _agreement(matches: int, annotators: int) -> float:
    """Average min(1, matches among the others / 3) over the annotator left out, in integers until the last division."""
    if annotators == 1:
        return float(matches)
    enough = min(3, annotators - 1)
    left_out_agrees = matches * min(enough, matches - 1)
    left_out_differs = (annotators - matches) * min(enough, matches)
    return (left_out_agrees + left_out_differs) / (enough * annotators)


def _known(protocol: VQAProtocol) -> VQAProtocol:
    if protocol not in get_args(VQAProtocol):
        raise InputError(f"protocol: {protocol!r} is not one of {', '.join(get_args(VQAProtocol))}")
    return protocol


def _check(prediction: object, answers: object, protocol: VQAProtocol) -> None:
    """Raise InputError for values that cannot be scored; the message names the value and the fix."""
    _known(protocol)
    if not isinstance(prediction, str):
        raise InputError(f"prediction: expected a string, got {prediction!r}; write an empty string for no answer")
    if isinstance(answers, str) or not isinstance(answers, Sequence):
        raise InputError(f"answers: expected a list with one string per annotator, got {answers!r}")
    if not answers:
        raise InputError("answers: the list is empty; a question needs the answer of at least one annotator")
    for answer in answers:
        if not isinstance(answer, str):
            raise InputError(f"answers: expected strings, got {answer!r} among them")

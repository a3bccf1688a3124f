"""The answers of a record as texts, for the datasets and for ``velm init``, which has to count what they read."""

from __future__ import annotations

from typing import Any

from velm_lightning.io.files import clean_text


def as_text(value: Any) -> str:
    """Return a value as one line of text; empty for null and NaN.

    Truth values are written as in JSON, and whole numbers without decimals, so that ``1`` and ``1.0`` are one label.

    Example:
        >>> [as_text(value) for value in (True, 2.0, " a cup ", None)]
        ['true', '2', 'a cup', '']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return "" if value is None or value != value else clean_text(str(value))


def given_answers(label: Any) -> list[Any] | dict[Any, Any]:
    """Return the answers of a label: one, a list of them, or answers with weights.

    The records of VQA and VizWiz, which hold the confidence of each annotator, are reduced to their answers.
    """
    if isinstance(label, dict):
        return label
    answers = label if isinstance(label, list) else [label]
    if all(isinstance(answer, dict) and "answer" in answer for answer in answers):
        return [answer["answer"] for answer in answers]
    return answers

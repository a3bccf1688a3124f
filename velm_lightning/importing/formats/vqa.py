"""VQA results: ``[{"question_id": 1, "answer": "yes"}]``; ``--references`` names the annotations, and the questions.

The annotations are those of VQA (Antol et al. 2015): ten answers per question, its type and its image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from velm_lightning.data.datasets.published.captioned import id_text, records
from velm_lightning.importing.rows import Choices, Imported, check_keys, field, row_of
from velm_lightning.io.record_files import TableRow, read_json, read_rows
from velm_lightning.types import InputError, Prediction


def read(path: Path, choices: Choices) -> Imported:
    """Read the answers; see ``formats``."""
    annotations: dict[str, TableRow] = {}
    questions: dict[str, str] = {}
    for file in choices.references:
        whole = read_json(file)
        if isinstance(whole, dict) and "questions" in whole:
            for record in records(whole, file, "questions", ("question_id", "question")):
                questions[_key(record)] = str(record.values["question"])
        else:
            for record in records(whole, file, "annotations", ("question_id", "image_id", "answers")):
                annotations[_key(record)] = record
    if not annotations:
        raise InputError(f"{path}: VQA results have no references: name the file of annotations by --references")
    rows = [_row(record, annotations, questions, choices) for record in read_rows(path)]
    return Imported([check_keys(rows, path)], scorer="vqa")


def _key(record: TableRow) -> str:
    return id_text(record.values["question_id"], "question_id", record.where)


def _row(
    record: TableRow, annotations: Mapping[str, TableRow], questions: Mapping[str, str], choices: Choices
) -> Prediction:
    missing = next((name for name in ("question_id", "answer") if name not in record.values), None)
    if missing:
        raise InputError(f'{record.where}: has no {missing}: write {{"question_id": …, "answer": …}}')
    key = _key(record)
    if key not in annotations:
        raise InputError(f"{record.where}: question {key} has no annotation: do the files belong together?")
    annotation = annotations[key]
    answers: list[Any] = annotation.values["answers"]
    if not isinstance(answers, list) or not all(isinstance(answer, dict) and "answer" in answer for answer in answers):
        raise InputError(f'{annotation.where}: answers must be a list of {{"answer": …}}')
    return row_of(
        record.where,
        key,
        record.values["answer"],
        [answer["answer"] for answer in answers],
        group=field(annotation.values, choices.group, ["answer_type"], annotation.where),
        prompt=questions.get(key, ""),
        image=field(annotation.values, choices.image, ["image_id"], annotation.where),
    )

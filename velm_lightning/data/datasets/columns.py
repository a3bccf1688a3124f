"""Conversion of the rows of a file to samples: columns, answers and weights."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypedDict, cast

from velm_lightning.data.datasets.image_names import Locate
from velm_lightning.data.datasets.readers.column_names import choose_columns, list_of, suggestion
from velm_lightning.data.datasets.readers.row_source import RowSource
from velm_lightning.io.files import show
from velm_lightning.io.record_files import TableRow, as_text, given_answers, literal
from velm_lightning.types import Image, InputError, Sample, Source


class Columns(TypedDict, total=False):
    """Column names that differ from the defaults; see ``JSONLines``."""

    image: str
    text: str | None
    target: str | None
    answers: str | None
    group: str | None
    key: str | None


def column_names(columns: Columns) -> dict[str, str | None]:
    """Return the names of columns by the part of a sample that they hold.

    Raises:
        InputError: A key is not a part of a sample.
    """
    for part in columns.keys() - Columns.__annotations__.keys():
        near = difflib.get_close_matches(part, Columns.__annotations__, 1)
        raise InputError(f"columns.{part} is not one of {', '.join(Columns.__annotations__)}{suggestion(near)}")
    return {part: cast(str | None, name) for part, name in columns.items()}


_WHOLE = re.compile(r"(-?(0|[1-9]\d*)(\.0*)?)?")  # pandas writes 1.0 where another cell of the column is empty


class RowConverter:
    """Converts the rows of one file to samples, with the columns of all its rows.

    Args:
        columns: Names of columns, or None to ignore one; other parts are found under their ``USUAL_NAMES``.
        rows: All rows of the file.
        locate: Returns the image that a row names.
        unlabelled: Whether the labels may be missing.

    Attributes:
        names: The column of each part, or None.

    Raises:
        InputError: A column is missing, or which column is meant is not clear.
    """

    def __init__(
        self,
        columns: Mapping[str, str | None],
        rows: RowSource,
        locate: Locate,
        unlabelled: bool,
    ) -> None:
        self.locate = locate
        self.optional = {"group", "target", "answers"} if unlabelled else {"group"}
        self.names = self._choose(columns, rows)
        labels = self.names["answers"]
        self.whole_numbers = labels is not None and all(
            row.written and _WHOLE.fullmatch(row.values.get(labels, "").strip()) for row in rows
        )
        self._images: dict[str, Source] = {}

    def _choose(self, columns: Mapping[str, str | None], rows: RowSource) -> dict[str, str | None]:
        where, values = (rows.first.where, list(rows.first.values.values())) if rows.first else ("", [])
        whole = InputError(
            f"{where}: is one object with the keys {list_of(rows.columns)}, not records: write a list of records, as "
            "`DataFrame.to_json(…, orient='records')` does"
        )
        if values and all(isinstance(value, dict) for value in values):
            raise whole
        try:
            return choose_columns(columns, rows.columns, where, self.optional)
        except InputError as error:
            raise whole if values and all(isinstance(value, dict | list) for value in values) else error from None

    def first_name(self, rows: Iterable[TableRow]) -> str | None:
        """Return the first name of an image in the rows; None if images are no names."""
        for row in rows:
            with suppress(InputError):
                value = self.value(row, "image")
                first = value[0] if isinstance(value, list) and value else value
                if first is not None:
                    return first if isinstance(first, str) else None
        return None

    def subject(self, row: TableRow, number: str) -> tuple[str, Image]:
        """Return the key and the image of a row."""
        key = sentence(self.value(row, "key"), self.names["key"], row) if self.names["key"] else number
        listed = self.value(row, "image")
        frames = listed if isinstance(listed, list) and listed else [listed]
        images = tuple(self._image(row, frame) for frame in frames)
        return key, images if frames is listed else images[0]

    def samples(self, row: TableRow, number: str, training: bool) -> Iterator[Sample]:
        """Yield the sample of a row, or in training one per target sentence.

        In evaluation the label may be empty or null, which means no references.
        """
        key, image = self.subject(row, number)
        text = sentence(self.value(row, "text"), self.names["text"], row) if self.names["text"] else ""
        group = sentence(self.value(row, "group"), self.names["group"], row, empty=True)
        labels = self.names["answers"] or self.names["target"]
        label = self.value(row, "answers" if self.names["answers"] else "target")
        if labels is None or (not training and label in (None, "", [], {})):
            yield Sample(key, image, text, None, (), group)
            return
        if self.names["answers"]:
            yield Sample(key, image, text, *_answers(label, row), group)
            return
        sentences = label if isinstance(label, list) and label else [label]
        references = tuple(sentence(text, self.names["target"], row) for text in sentences)
        if not training or len(references) == 1:
            yield Sample(key, image, text, references[0], references, group)
            return
        for position, target in enumerate(references):
            yield Sample(f"{key}#{position}", image, text, target, references, group)

    def value(self, row: TableRow, part: str) -> Any:
        """Return a part of a row, or None if it is NaN, a missing group, or a missing label of a test file."""
        name = self.names[part]
        if name is None:
            return None
        if name not in row.values and part not in self.optional:
            near = difflib.get_close_matches(name, row.values, 1)
            raise InputError(
                f"{row.where}: no column {name!r} in {list_of(row.values)}{suggestion(near)}: see columns.{part}"
            )
        value = row.values.get(name)
        if part == "answers" and self.whole_numbers:
            return str(value or "").partition(".")[0].strip()
        if row.written and value and isinstance(value, str) and part in ("image", "target", "answers"):
            return literal(value, name, row)
        return None if isinstance(value, float) and value != value else value

    def _image(self, row: TableRow, name: Any) -> Source:
        """Return an image, as the same object for the same name."""
        if not isinstance(name, str):
            return self.locate(name, row.where)
        if name not in self._images:
            self._images[name] = self.locate(name, row.where)
        return self._images[name]


def sentence(value: Any, name: str | None, row: TableRow, empty: bool = False) -> str:
    """Return a value as one line of text.

    Whole numbers are written without decimals, so that ``1`` and ``1.0`` are the same label; NaN is empty.

    Raises:
        InputError: The value is neither a string nor a finite number, or is empty and ``empty`` is False.
    """
    if isinstance(value, bool | list | dict) or value in (math.inf, -math.inf):
        raise InputError(f"{row.where}: {name} is {show(value)}: write a text")
    text = as_text(value)
    if not text and not empty:
        why = "" if isinstance(value, str) else " (null or NaN)"
        raise InputError(f"{row.where}: {name} is empty{why}: write a text or remove the row")
    return text


def soft_weights(answers: Sequence[str]) -> dict[str, float]:
    """Return the weight of each answer: 1 for a single answer, else min(1, count / 3) (VQA, Antol et al. 2015)."""
    if len(answers) == 1:
        return {answers[0]: 1.0}
    return {answer: min(1.0, count / 3) for answer, count in Counter(answers).items()}


def _answers(label: Any, row: TableRow) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return answers with weights, and all answers in order."""
    answers = given_answers(label)
    if not answers:
        raise InputError(f"{row.where}: the answers are empty: give one or more")
    words = tuple(
        sentence(as_text(answer) if isinstance(answer, bool) else answer, "an answer", row) for answer in answers
    )
    if isinstance(answers, list):
        return soft_weights(words), words
    for answer, weight in answers.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise InputError(f"{row.where}: answer {show(answer)} weighs {show(weight)}: give a number from 0 to 1")
    return dict(zip(words, map(float, answers.values()), strict=True)), words

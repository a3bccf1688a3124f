"""From a row of a file to samples: which column is which, and what a label may be."""

from __future__ import annotations

import ast
import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from velm_lightning.io.files import TableRow, clean_text, inside, show
from velm_lightning.types import InputError, Sample


class Columns(TypedDict, total=False):
    """What the file calls each part of a sample, where it is not called so; see ``JSONLines``."""

    image: str
    text: str | None
    target: str | None
    answers: str | None
    group: str | None
    key: str | None


class Parts:
    """How the rows of one file become samples: which column is which is settled by the columns of all rows."""

    def __init__(
        self, columns: Mapping[str, str | None], rows: Sequence[TableRow], images: Path, unlabelled: bool
    ) -> None:
        self.images, first = images, rows[0]
        known = dict.fromkeys(name for row in rows for name in row.values)
        self.names = {part: columns.get(part, part if part in known else None) for part in Columns.__annotations__}
        self.optional = {"group", "target", "answers"} if unlabelled else {"group"}
        group = self.names["group"]
        if group is not None and group not in known:
            raise InputError(f"{first.where}: no column {group!r} in {_list(first)}: see columns.group")
        for part in ("image", "text"):
            if part not in columns and self.names[part] is None:
                leave = ", or `text: null` for none" if part == "text" else ""
                raise InputError(
                    f"{first.where}: no column {part!r} in {_list(first)}: name it by columns.{part}{leave}"
                )
        if columns.get("answers"):
            self.names["target"] = columns.get("target")
        elif columns.get("target"):
            self.names["answers"] = None
        if self.names["target"] and self.names["answers"]:
            raise InputError(f"{first.where}: both target and answers: set columns.target or columns.answers to null")
        self.paths: dict[str, Path] = {}

    def samples(self, row: TableRow, number: str, training: bool) -> Iterator[Sample]:
        """Yield the sample of a row; in training, one for each of its target sentences.

        In evaluation the label may be empty or null: the sample has no references then.
        """
        key = sentence(self.value(row, "key"), self.names["key"], row) if self.names["key"] else number
        image = self.value(row, "image")
        frames = image if isinstance(image, list) and image else [image]
        paths = tuple(self.path(row, frame) for frame in frames)
        picture = paths if frames is image else paths[0]
        text = sentence(self.value(row, "text"), self.names["text"], row) if self.names["text"] else ""
        group = sentence(self.value(row, "group"), self.names["group"], row, empty=True)
        labels = self.names["answers"] or self.names["target"]
        label = self.value(row, "answers" if self.names["answers"] else "target")
        if labels is None or (not training and label in (None, "", [], {})):
            yield Sample(key, picture, text, None, (), group)
            return
        if self.names["answers"]:
            yield Sample(key, picture, text, *_answers(label, row), group)
            return
        sentences = label if isinstance(label, list) and label else [label]
        references = tuple(sentence(one, self.names["target"], row) for one in sentences)
        if not training or len(references) == 1:
            yield Sample(key, picture, text, references[0], references, group)
            return
        for position, target in enumerate(references):
            yield Sample(f"{key}#{position}", picture, text, target, references, group)

    def value(self, row: TableRow, part: str) -> Any:
        """Return a part of a row; a row may lack its group, one of a test file its label. NaN is no value."""
        name = self.names[part]
        if name is None:
            return None
        if name not in row.values and part not in self.optional:
            near = difflib.get_close_matches(name, row.values, 1)
            raise InputError(f"{row.where}: no column {name!r} in {_list(row)}{meant(near)}: see columns.{part}")
        value = row.values.get(name)
        if row.written and value and part in ("image", "target", "answers"):
            return literal(str(value), name, row)
        return None if value != value else value

    def path(self, row: TableRow, name: Any) -> Path:
        """Return a picture's path, the same object for the same name."""
        if not isinstance(name, str) or name not in self.paths:
            try:
                found = inside(self.images, name)
            except InputError as error:
                raise InputError(f"{row.where}: image {error}") from error
            self.paths[name] = found
        return self.paths[name]


def sentence(value: Any, name: str | None, row: TableRow, empty: bool = False) -> str:
    """Return a text on one plain line.

    A whole number is written without its point, so that ``1`` and ``1.0`` are one label; NaN is empty.

    Raises:
        InputError: it is neither text nor a finite number, or it is empty and may not be.
    """
    if isinstance(value, bool | list | dict) or value in (math.inf, -math.inf):
        raise InputError(f"{row.where}: {name} is {show(value)}: write a text")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    text = "" if value is None or value != value else clean_text(str(value))
    if not text and not empty:
        why = "" if isinstance(value, str) else " (null or NaN)"
        raise InputError(f"{row.where}: {name} is empty{why}: write a text or remove the row")
    return text


def literal(text: str, name: str, row: TableRow) -> Any:
    """Return the list or record that the cell of a table holds as Python or JSON writes it, else the cell itself.

    Raises:
        InputError: it begins as a list or record of texts and cannot be read as one.
    """
    begins = re.match(r"\s*(\[\s*[\"']|\{\s*[\"'])", text)
    if not begins and not re.fullmatch(r"\s*\[[-\d\s.,]*\]\s*", text):
        return text
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            if not re.search(r"[\"']\s+[\"']", text):  # as numpy writes it, which Python takes for one text
                return read(text.strip())
    if not begins:
        return text
    raise InputError(f'{row.where}: {name} is {show(text)}, which is no list: write it as JSON, ["…", "…"]')


def soft_weights(answers: Sequence[str]) -> dict[str, float]:
    """Return what each answer is worth: 1 alone, else min(1, count / 3), as in VQA (Antol et al. 2015)."""
    if len(answers) == 1:
        return {answers[0]: 1.0}
    return {answer: min(1.0, count / 3) for answer, count in Counter(answers).items()}


def _answers(label: Any, row: TableRow) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return answers with weights, and all that was said."""
    said = label if isinstance(label, list | dict) else [label]
    if not said:
        raise InputError(f"{row.where}: the answers are empty: give one or more")
    words = tuple(
        sentence(str(answer).lower() if isinstance(answer, bool) else answer, "an answer", row) for answer in said
    )
    if isinstance(said, list):
        return soft_weights(words), words
    for answer, weight in said.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise InputError(f"{row.where}: answer {show(answer)} weighs {show(weight)}: give a number from 0 to 1")
    return dict(zip(words, map(float, said.values()), strict=True)), words


def _list(row: TableRow) -> str:
    return show(", ".join(map(str, row.values)))


def meant(near: Sequence[str]) -> str:
    """Return the nearest right spelling as the end of a message."""
    return f"; do you mean {near[0]!r}?" if near else ""

"""Reading JSON files, JSON lines and tables record by record; an error names the file and line of the record."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.errors import InputError
from velm_lightning.io.files import clean_text, fault, read_text, show
from velm_lightning.io.tables import table_rows

_SPACE = re.compile(r"[ \t\n\r]*")


class TableRow(NamedTuple):
    """One record of a file, with its location for error messages."""

    where: str
    values: dict[str, Any]
    written: bool = False
    """Whether all values are strings, as in a CSV file."""


def read_json(path: Path) -> Any:
    """Return the value of a JSON file."""
    text = read_text(path)
    value, end = _parse(text, _skip(text, 0), path, 1)
    if _skip(text, end) < len(text):
        line, column = _place(text, _skip(text, end))
        raise InputError(f"{path}:{line}: JSON ends before column {column}, but text goes on: remove what follows")
    return value


def read_rows(path: Path, problems: list[str] | None = None) -> Iterator[TableRow]:
    """Yield the records of a file: a table (CSV, TSV …), a JSON list or JSON lines, by content if not by the suffix.

    Args:
        path: The file.
        problems: If given, errors of records are appended to it and the records are skipped.

    Raises:
        InputError: The file, or a record without ``problems``, cannot be read.
    """
    text = read_text(path)
    if _is_table(text, path):
        rows = _table_rows(text, path)
    elif text.lstrip()[:1] == "[":
        rows = _list_rows(text, path)
    else:
        rows = _line_rows(text, path)
    for row in rows:
        if isinstance(row, InputError):
            fault(row, problems)
        else:
            yield row


def _is_table(text: str, path: Path) -> bool:
    suffix = path.with_suffix("").suffix.lower() if path.suffix == ".gz" else path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return True
    return suffix not in (".json", ".jsonl", ".ndjson") and text.lstrip()[:1] not in ("{", "[", "")


def _line_rows(text: str, path: Path) -> Iterator[TableRow | InputError]:
    r"""Yield JSON lines; only ``\n`` ends a line, for U+2028 may stand within a string."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value, end = _parse(line, _skip(line, 0), path, number)
        except InputError as error:
            yield error
            continue
        if line[end:].strip():
            yield InputError(f"{path}:{number}: text follows the record at column {end + 1}: one record a line")
        else:
            yield _row(value, f"{path}:{number}")


def _list_rows(text: str, path: Path) -> Iterator[TableRow | InputError]:
    """Yield the items of a JSON list with their first lines, up to a truncated one."""
    at, line, counted, number = _skip(text, text.index("[") + 1), 1, 0, 0
    while text[at : at + 1] != "]":
        line, counted, number = line + text.count("\n", counted, at), at, number + 1
        try:
            value, end = _parse(text, at, path, 1)
        except InputError as error:
            yield error
            return
        yield _row(value, f"{path}:{line} (item {number})")
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            line, column = _place(text, at)
            yield InputError(f"{path}:{line}: the list is cut at column {column}: `,` or `]` is missing")
            return
    if _skip(text, at + 1) < len(text):
        yield InputError(f"{path}:{_place(text, at)[0]}: text follows the end of the list: remove it")


def _table_rows(text: str, path: Path) -> Iterator[TableRow | InputError]:
    """Yield the rows of a table whose first line names the columns."""
    for row in table_rows(text, path):
        yield row if isinstance(row, InputError) else TableRow(*row, written=True)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, each of whose keys must occur once."""
    record = dict(pairs)
    if len(record) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {next(key for key, count in counts.items() if count > 1)!r} occurs twice")
    return record


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def _parse(text: str, at: int, path: Path, first: int) -> tuple[Any, int]:
    """Return the JSON value that begins at ``at``, and its end; ``first`` is the number of the text's first line."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        line, column = _place(text, error.pos)
        cut = _skip(text, error.pos) >= len(text) or "Unterminated" in error.msg
        fix = "it is truncated there, or continues on the next line" if cut else "correct it there"
        raise InputError(f"{path}:{first + line - 1}: not JSON at column {column} ({error.msg}): {fix}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or an integer of thousands of digits
        line = first + _place(text, at)[0] - 1
        raise InputError(f"{path}:{line}: JSON that cannot be read ({show(str(error))}): correct it") from error


def _row(value: object, where: str) -> TableRow | InputError:
    if isinstance(value, dict):
        return TableRow(where, value)
    return InputError(f'{where}: {show(value)} is not a record: write {{"image": …, "text": …}}')


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _place(text: str, at: int) -> tuple[int, int]:
    """Return line and column, both from 1."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


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


def literal(text: str, name: str, row: TableRow) -> Any:
    """Return the list or record in the cell of a table, in Python or JSON syntax, else the cell itself.

    Raises:
        InputError: The cell begins like a list or record of strings, but cannot be parsed.
    """
    begins = re.match(r"\s*(\[\s*\{?|\{)\s*[\"']", text)
    if not begins and not re.fullmatch(r"\s*\[[-\d\s.,]*\]\s*", text):
        return text
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            if read is json.loads or not re.search(r"[\"']\s+[\"']", text):  # numpy's, which is one string to Python
                return read(text.strip())
    if not begins:
        return text
    raise InputError(f'{row.where}: {name} is {show(text)}, which is no list: write it as JSON, ["…", "…"]')


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

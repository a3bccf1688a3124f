"""What a table of a user holds: its columns, the task that they propose, and the sizes of its pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from velm_lightning.cli.start.hints import no_file
from velm_lightning.cli.start.pictures import file_of, refused, shorter_side, spread
from velm_lightning.cli.start.tasks import TASKS
from velm_lightning.errors import InputError
from velm_lightning.io.record_files import TableRow, as_text, given_answers, literal, read_rows

_NAMES = {
    "image": r"(image|img|photo|picture|file|filename)(_?(file|name|path|file_name))?s?|path",
    "text": r"question|text|prompt|sentence|post|tweet|statement|source|src|dialogue|document|en",
    "answers": r"answers?|label|labels|class|category|sentiment|gold_?label|multiple_choice_answer",
    "target": r"target|caption|captions|description|summary|translation|tgt|report",
    "group": r"group|(question|answer)_?type|topic",
    "key": r"key|id|question_?id|sample_?id|uid",
}
_IMAGE_FILE = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?|p[gp]m|hei[cf])$", re.IGNORECASE)


class Proposal(NamedTuple):
    """What a table holds, and the task for it.

    Attributes:
        columns: The column of each part: ``image``, ``text``, ``answers`` or ``target``, ``group``, ``key``.
        images: Folder of the pictures.
        task: Name of a task in ``TASKS``.
        rows: Number of rows.
        pictures: Number of different pictures.
        side: Shorter side of the middle picture in pixels.
        answers: How often each answer occurs; empty for sentences.
        refused: Why ``velm fit`` refuses names of images, and the fix; empty if it does not.
    """

    columns: dict[str, str]
    images: Path
    task: str
    rows: int
    pictures: int
    side: int
    answers: Counter[str]
    refused: str = ""

    @property
    def skew(self) -> float:
        """How much more often the most frequent answer occurs than an answer does on average."""
        return max(self.answers.values()) * len(self.answers) / self.answers.total() if self.answers else 1.0


def propose(file: Path, images: Path | None = None, task: str | None = None) -> Proposal:
    """Look at a table and propose columns and a task.

    Args:
        file: CSV, TSV, JSON lines or a JSON list with a row per sample.
        images: Folder of the pictures; by default the table's folder or one in it.
        task: The task; by default what the columns propose.

    Raises:
        InputError: The file cannot be read, no column names pictures, or the columns do not fit the task.
    """
    rows = _rows(file)
    image, folder = _image_column(file, rows, images)
    columns = {"image": image} | _other_columns(rows, image)
    labelled = next((part for part in ("answers", "target") if part in columns), None)
    if labelled is None and task is None:
        raise InputError(
            f"{file}: no column of {', '.join(rows[0])} looks like answers or sentences: rename one 'answer'"
        )
    proposed = task or ("classification" if labelled == "answers" else _generated(columns))
    _check(proposed, columns, file)
    names = {name: None for row in rows if isinstance(name := _first(row.get(image)), str)}
    looked = spread(list(names))
    return Proposal(
        columns=columns,
        images=folder,
        task=proposed,
        rows=len(rows),
        pictures=len(names),
        side=shorter_side([path for name in looked if (path := file_of(folder, name))]),
        answers=_answers(rows, columns) if TASKS[proposed].learned == "answers" else Counter(),
        refused=refused(folder, looked),
    )


def check_columns(file: Path, proposal: Proposal) -> None:
    """Check that the table of another split has the columns and the images that were found in the training table.

    Raises:
        InputError: The file cannot be read, or lacks a column or the images.
    """
    rows = _rows(file)
    wanted = [name for part, name in proposal.columns.items() if part != "group"]
    if missing := [name for name in wanted if name not in rows[0]]:
        raise InputError(
            f"{file}: has no column {missing[0]!r}, only {', '.join(rows[0])}: name its columns as in the training file"
        )
    _image_column(
        file, [{proposal.columns["image"]: row.get(proposal.columns["image"])} for row in rows], proposal.images
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows, all with the columns of all rows, for a row of JSON may leave out what it does not have."""
    if not file.is_file():
        raise InputError(no_file(file))
    rows = [_values(row) for row in read_rows(file)]
    if not rows:
        raise InputError(f"{file}: holds no rows: give a file with one row per sample")
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _values(row: TableRow) -> dict[str, Any]:
    """Return the values of a row, with the lists that are written in the cells of a table."""
    return {name: _cell(value, name, row) for name, value in row.values.items()} if row.written else row.values


def _cell(text: str, name: str, row: TableRow) -> Any:
    with suppress(InputError):  # of a column that is no list for the training either
        return literal(text, name, row)
    return text


def _answers(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Counter[str]:
    """Count how often each answer occurs."""
    given = (answer for row in rows for answer in given_answers(row.get(columns["answers"])))
    return Counter(text for text in map(as_text, given) if text)


def _generated(columns: Mapping[str, str]) -> str:
    return "generation" if "text" in columns else "captioning"


def _check(task: str, columns: Mapping[str, str], file: Path) -> None:
    """Raise ``InputError`` if the columns do not fit the task."""
    wanted = TASKS[task].learned
    if wanted not in columns:
        present = ", ".join(f"{part}: {name}" for part, name in columns.items())
        raise InputError(f"{file}: --task {task} needs a column for {wanted}, found {present}: name it {wanted!r}")


def _image_column(file: Path, rows: Sequence[Mapping[str, Any]], images: Path | None) -> tuple[str, Path]:
    """Return the column whose values are files below a folder, and the folder."""
    if images is not None and not images.is_dir():
        raise InputError(f"--images {images}: there is no such folder")
    folders = [images] if images else [file.parent, *sorted(path for path in file.parent.iterdir() if path.is_dir())]
    some = spread(rows)
    best: tuple[float, bool, str, Path] | None = None
    for folder in folders:
        for name in rows[0]:
            values = [_first(row.get(name)) for row in some]
            share = sum(isinstance(value, str) and file_of(folder, value) is not None for value in values) / len(some)
            if share and (best is None or (share, _named("image", name)) > best[:2]):
                best = share, _named("image", name), name, folder
    if best is None:
        raise _no_images(file, rows[0], images)
    return best[2], best[3]


def _no_images(file: Path, row: Mapping[str, Any], images: Path | None) -> InputError:
    """Return the refusal of a table in which no column names files, by the first value of the likeliest column."""
    where = images or f"{file.parent} and its folders"
    values = {name: str(_first(value)) for name, value in row.items()}
    likely = [name for name in values if _named("image", name)]
    likely += [name for name in values if _IMAGE_FILE.search(values[name])]
    if not likely:
        return InputError(f"{file}: no column of {', '.join(row)} names images: add one with the names of their files")
    name, value = likely[0], values[likely[0]][:60]
    fix = "correct the names, or give the folder to which they are relative" if images else "give --images"
    return InputError(f"{file}: no column names files in {where} ({name!r} begins with {value!r}): {fix}")


def _other_columns(rows: Sequence[Mapping[str, Any]], image: str) -> dict[str, str]:
    """Return the columns of text, answers or target, group and key, by their names, else by what they hold."""
    free = [name for name in rows[0] if name and name != image]
    parts: dict[str, str] = {}
    for part in ("text", "answers", "target", "group", "key"):
        match = next((name for name in free if _named(part, name)), None)
        if match is not None and (part != "key" or _unique(rows, match)):
            parts[part] = match
            free.remove(match)
    values = {name: [as_text(row.get(name)) for row in rows] for name in free}
    for name in sorted(free, key=lambda name: not _few(values[name])):  # labels first: sentences next to them are texts
        part = "answers" if _few(values[name]) else "text" if parts.keys() & {"answers", "target"} else "target"
        if part not in parts and not (part == "answers" and "target" in parts) and len(set(values[name])) > 1:
            parts[part] = name
    if "target" in parts and "answers" in parts:  # one of them is what is learned
        del parts["group" if "group" in parts and parts["group"] == parts["answers"] else "answers"]
    return parts


def _few(values: Sequence[str]) -> bool:
    """Return whether values are labels: short, and few of them different."""
    few = len(set(values)) <= max(20, len(values) // 5) and len(set(values)) < len(values)
    return few and sum(len(value.split()) for value in values) <= 3 * len(values)


def _named(part: str, name: str) -> bool:
    return re.fullmatch(_NAMES[part], name.strip().lower()) is not None


def _unique(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [str(row.get(name)) for row in rows]
    return len(set(values)) == len(values) and "" not in values


def _first(value: Any) -> Any:
    return next(iter(value), None) if isinstance(value, list | dict) else value

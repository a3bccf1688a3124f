"""The images of a conversation: those of its row, and those in its contents, at their marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from velm_lightning.data.datasets.readers.column_names import IMAGE_NAMES
from velm_lightning.data.images.folder import SUFFIXES
from velm_lightning.io.files import show
from velm_lightning.io.record_files import TableRow, literal
from velm_lightning.types import FilePart, InputError, Turn

MARK = "<image>"


class Content(NamedTuple):
    """The content of a turn.

    Attributes:
        turn: Its texts, and None for each mark.
        images: What stands at each mark: an image, the number of one of the row, or None for the next one of the row.
    """

    turn: Turn
    images: list[Any]


def given_images(row: TableRow, column: str | None = None) -> list[Any]:
    """Return the images of a row, from a column or, by default, from the first usual one that is not empty.

    In a tar shard they are the files of the sample, whatever names its record has.

    Raises:
        InputError: There are none, but another column holds names of images.
    """
    names = [column] if column else ["images", *IMAGE_NAMES]
    cells = [_cell(row, name) for name in names]
    lists = [cell if isinstance(cell, list) else [] if _is_empty(cell) else [cell] for cell in cells]
    images = next((listed for listed in lists if listed), [])
    files = [value for value in row.values.values() if isinstance(value, FilePart)]
    if files and not any(isinstance(image, FilePart) for image in images):
        return files
    if not images:
        for name, value in row.values.items():
            if isinstance(value, str) and name != "id" and value.lower().endswith(SUFFIXES):
                raise InputError(f"{row.where}: column {name!r} names the image {show(value)}: set columns.image")
    return images


def _cell(row: TableRow, name: str) -> Any:
    cell = row.values.get(name)
    return literal(cell, name, row) if row.written and cell else cell


def _is_empty(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and not cell) or (isinstance(cell, float) and cell != cell)


def before_first_question(contents: list[Content], count: int, row: TableRow) -> list[Content]:
    """Return the contents with ``count`` marks at the beginning of the first turn of the user.

    Raises:
        InputError: There is no turn of the user.
    """
    first = next((place for place, content in enumerate(contents) if content.turn.role == "user"), None)
    if first is None:
        raise InputError(f"{row.where}: {count} images, but no turn of the user: add one, or remove the images")
    turn = contents[first].turn
    marked = Content(turn._replace(parts=(*[None] * count, *turn.parts)), [None] * count)
    return [*contents[:first], marked, *contents[first + 1 :]]


def images_at_marks(contents: Sequence[Content], given: Sequence[Any], row: TableRow) -> list[Any]:
    """Return the image at each mark: that of the content, or one of the row.

    Raises:
        InputError: The numbers of marks and of images differ.
    """
    marks = [image for content in contents for image in content.images]
    numbers = [mark for mark in marks if isinstance(mark, int)]
    if any(not 0 <= number < len(given) for number in numbers):
        raise InputError(f"{row.where}: marks of the images {show(numbers)} of {len(given)}: count from 0")
    if marks.count(None) != (0 if numbers else len(given)):
        raise InputError(
            f"{row.where}: {marks.count(None)} marks ({MARK}) and {len(given)} images: give one image per mark; a "
            f'text that holds {MARK} is written as a list, [{{"type": "text", "text": …}}]'
        )
    rest = iter(given)
    return [next(rest) if mark is None else given[mark] if isinstance(mark, int) else mark for mark in marks]

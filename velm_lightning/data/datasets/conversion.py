"""Which conversion turns the rows of a file into samples: that of conversations, or that of columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from velm_lightning.data.datasets.columns import RowConverter
from velm_lightning.data.datasets.conversation_samples import ConversationConverter
from velm_lightning.data.datasets.image_names import Locate
from velm_lightning.data.datasets.messages import TURNS, is_conversation
from velm_lightning.data.datasets.readers.row_source import RowSource
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import Image, Sample


class Converter(Protocol):
    """Converts the rows of one file to samples.

    Attributes:
        names: The column of each part of a sample that was looked for, or None.
    """

    names: dict[str, str | None]

    def first_name(self, rows: Iterable[TableRow]) -> str | None:
        """Return the first name of an image in the rows; None if images are no names."""

    def subject(self, row: TableRow, number: str) -> tuple[str, Image]:
        """Return the key and the image or images of a row, by which it is held out."""

    def samples(self, row: TableRow, number: str, training: bool) -> Iterator[Sample]:
        """Yield the samples of a row, whose number is its key if it has none."""


def converter_of(columns: Mapping[str, str | None], rows: RowSource, locate: Locate, unlabelled: bool) -> Converter:
    """Return the conversion of rows with turns if any row has some, and ``columns`` name no other part of a sample.

    Args:
        columns: Names of columns that differ.
        rows: All rows of the file.
        locate: Returns the image that a row names.
        unlabelled: Whether labels may be missing.

    Raises:
        InputError: A column is missing, or which column is meant is not clear.
    """
    may_have_turns = columns.keys() <= {"image"} and not rows.columns.keys().isdisjoint(TURNS)
    if may_have_turns and any(map(is_conversation, rows)):
        return ConversationConverter(rows, locate, columns.get("image"))
    return RowConverter(columns, rows, locate, unlabelled)

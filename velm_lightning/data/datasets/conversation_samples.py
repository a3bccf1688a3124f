"""Conversion of the rows of a file with conversations to samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from velm_lightning.data.datasets.image_names import Locate
from velm_lightning.data.datasets.messages import Conversation, conversation_of
from velm_lightning.data.datasets.readers.row_source import RowSource
from velm_lightning.io.files import clean_text, show
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import Image, InputError, Sample, Turn


class ConversationConverter:
    """Converts rows with turns to samples.

    The key of a conversation is its ``id``, with the number of the row if several rows have that ``id``, as in LLaVA's
    own file; without one it is the number of the row.

    Args:
        rows: All rows of the file.
        locate: Returns the image that a row names.
        column: Column of the images. None means a usual name.
    """

    def __init__(self, rows: RowSource, locate: Locate, column: str | None = None) -> None:
        self.names: dict[str, str | None] = {"image": column} if column else {}
        self.locate, self.column = locate, column
        named = rows if "id" in rows.columns else ()
        self._ids = Counter(str(row.values.get("id")) for row in named)

    def first_name(self, rows: Iterable[TableRow]) -> str | None:
        """Return the first name of an image in the rows; None if images are no names."""
        for row in rows:
            with suppress(InputError):
                images: Sequence[object] = conversation_of(row, "", lambda name, _: name, self.column).images
                if images:
                    return images[0] if isinstance(images[0], str) else None
        return None

    def subject(self, row: TableRow, number: str) -> tuple[str, Image]:
        """Return the key and the images of a row."""
        talk = self._conversation(row, number)
        return talk.key, talk.images

    def samples(self, row: TableRow, number: str, training: bool) -> Iterator[Sample]:
        """Yield one sample that learns all replies, or one per reply."""
        return samples_of(self._conversation(row, number), training)

    def _conversation(self, row: TableRow, number: str) -> Conversation:
        return conversation_of(row, self._key(row, number), self.locate, self.column)

    def _key(self, row: TableRow, number: str) -> str:
        key = row.values.get("id")
        if key is None or key != key:  # NaN
            return str(row.values.get("key", number))
        if isinstance(key, bool) or not isinstance(key, str | int) or not str(key).strip():
            raise InputError(f"{row.where}: id is {show(key)}: give a text or a whole number")
        return f"{key}#{number}" if self._ids[str(key)] > 1 else str(key)


def samples_of(talk: Conversation, training: bool) -> Iterator[Sample]:
    """Yield one sample that learns all replies, or one per reply."""
    replies = [place for place, turn in enumerate(talk.turns) if turn.learned]
    if training or not replies:  # without a reply the conversation can still be continued
        yield _sample(talk, talk.key, talk.turns)
        return
    for number, place in enumerate(replies, 1):
        history = [turn._replace(learned=False) for turn in talk.turns[:place]]
        yield _sample(talk, f"{talk.key}-{number}", [*history, talk.turns[place]], f"turn {number}")


def _sample(talk: Conversation, key: str, turns: Sequence[Turn], group: str = "") -> Sample:
    last = turns[-1]
    target = _text([last]) if last.role == "assistant" else None
    return Sample(
        key=key,
        image=talk.images[: sum(turn.parts.count(None) for turn in turns)],
        text=_text(turns if target is None else turns[:-1]),
        target=target,
        references=() if target is None else (target,),
        group=group,
        turns=tuple(turns),
    )


def _text(turns: Sequence[Turn]) -> str:
    return clean_text(" ".join(part for turn in turns for part in turn.parts if part is not None))

"""Conversion of a row of a file to a conversation: roles, contents, and images at their marks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from unicodedata import normalize

from velm_lightning.data.datasets.image_names import Locate, located_image
from velm_lightning.data.datasets.marks import (
    MARK,
    Content,
    before_first_question,
    given_images,
    images_at_marks,
)
from velm_lightning.io.files import show
from velm_lightning.io.record_files import TableRow, literal
from velm_lightning.types import InputError, Source, Turn

TURNS = ("messages", "conversations", "texts")
"""The names of the column with the turns."""

ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard", "function_call"),
    "tool": ("tool", "function", "observation", "function_response"),
}
"""The names of each role in the layouts."""

_PAIR = {"user", "assistant"}
_IMAGE = ("image", "path", "url", "index")
"""The fields in which a content has an image, or its number among those of the row."""

_ROLE_OF = {name: role for role, names in ROLES.items() for name in names}


class Conversation(NamedTuple):
    """A conversation of a file, up to its last reply if it has one.

    Attributes:
        where: file and line.
        key: its name.
        turns: its turns.
        images: its images, in the order of their marks.
    """

    where: str
    key: str
    turns: tuple[Turn, ...]
    images: tuple[Source, ...]


def is_conversation(row: TableRow) -> bool:
    """Return whether a row holds turns, each with a role and a content."""
    try:
        turns = _turns(row)
    except InputError:  # a cell that begins like a list
        return False
    first = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first, dict) and (bool({"role", "from"} & first.keys()) or first.keys() >= _PAIR)


def conversation_of(row: TableRow, key: str, locate: Locate, column: str | None = None) -> Conversation:
    """Return the conversation of a row.

    Args:
        row: The row.
        key: Its key.
        locate: Returns the image that a row names.
        column: Column of the images. None means a usual name.

    Raises:
        InputError: A turn, a role, the number of marks or an image is invalid.
    """
    given = given_images(row, column)
    contents = [_content(message, bool(given), row) for message in _messages(row)]
    if given and not any(content.images for content in contents):
        contents = before_first_question(contents, len(given), row)
    images = images_at_marks(contents, given, row)
    turns = [content.turn for content in contents]
    last = max((place for place, turn in enumerate(turns) if turn.role == "assistant"), default=len(turns) - 1)
    turns = turns[: last + 1]
    if any(turn.role == "assistant" for turn in turns) and not any(turn.learned for turn in turns):
        raise InputError(f"{row.where}: no reply is learned, all have weight 0: give one a weight, or remove the row")
    used = images[: sum(turn.parts.count(None) for turn in turns)]
    return Conversation(row.where, key, tuple(turns), tuple(located_image(image, locate, row.where) for image in used))


def _turns(row: TableRow) -> Any:
    """Return what the column of turns holds, a list in the cell of a table of text included; None if it is empty."""
    turns = next((row.values[name] for name in TURNS if row.values.get(name)), None)
    return literal(turns, "/".join(TURNS), row) if row.written and turns else turns


def _messages(row: TableRow) -> list[Any]:
    turns = _turns(row)
    if not isinstance(turns, list) or not turns:
        raise InputError(f"{row.where}: no turns in a column {' or '.join(TURNS)}: write a list of one or more")
    return [message for turn in turns for message in _messages_of(turn)]


def _messages_of(turn: Any) -> list[Any]:
    """Return the messages of an entry, which may be a pair of a question and its reply."""
    if isinstance(turn, dict) and turn.keys() >= _PAIR and not {"role", "from"} & turn.keys():
        return [{"role": role, "content": turn[role]} for role in ("user", "assistant")]
    return [turn]


def _content(message: Any, marked: bool, row: TableRow) -> Content:
    """Return the content of a message; ``marked`` means that ``<image>`` in the texts of a user is a mark."""
    if not isinstance(message, dict):
        raise InputError(f'{row.where}: {show(message)} is no turn: write {{"role": "user", "content": …}}')
    role_name = message.get("role", message.get("from"))
    role = _ROLE_OF.get(str(role_name).lower())
    if role is None:
        raise InputError(f"{row.where}: the role {show(role_name)} is unknown: use one of {', '.join(_ROLE_OF)}")
    content = message.get("content", message.get("value"))
    parts, images = list[str | None](), list[Any]()
    for part in _parts(content, marked and role != "assistant", row):
        if isinstance(part, str):
            parts.append(part)
        else:
            parts.append(None)
            images.append(part.get("image"))
    if role == "assistant" and images:
        raise InputError(f"{row.where}: an image stands in a reply: put it into a turn of the user")
    learned = role == "assistant" and message.get("weight") not in (0, False) and message.get("loss") not in (0, False)
    return Content(Turn(role, tuple(parts), learned), images)


def _parts(content: Any, marked: bool, row: TableRow) -> Iterator[str | dict[str, Any]]:
    """Yield the texts of a content, and a record for each image."""
    if isinstance(content, str):
        texts = content.split(MARK) if marked else [content]
        for place, text in enumerate(texts):
            if place:
                yield {"image": None}
            if text:
                yield _text(text)
        return
    if content is not None and not isinstance(content, list):
        raise InputError(f"{row.where}: the content {show(content)} is neither a text nor a list: write a text")
    for part in content or ():
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            yield _text(part)
        elif kind == "text" and isinstance(part.get("text"), str):
            yield _text(part["text"])
        elif kind == "image":
            yield {"image": next((part[name] for name in _IMAGE if part.get(name) is not None), None)}
        elif kind == "image_url":
            url = part.get("image_url")
            yield {"image": url.get("url") if isinstance(url, dict) else url}
        else:
            raise InputError(f'{row.where}: {show(part)} is neither a text nor an image: see "Conversations"')


def _text(text: str) -> str:
    """Return a text in Unicode form NFC without unpaired surrogates; line breaks stay."""
    return normalize("NFC", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

"""Conversion of a row of a file to a conversation: roles, contents, and images at their marks."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from torch import Tensor

from velm_lightning.data.images.folder import SUFFIXES
from velm_lightning.data.images.image_like import to_image
from velm_lightning.io.files import TableRow, inside, show
from velm_lightning.types import InputError, Turn

MARK = "<image>"
TURNS = ("messages", "conversations")
"""The names of the column with the turns."""

ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard", "function_call"),
    "tool": ("tool", "function", "observation", "function_response"),
}
"""The names of each role in the layouts."""

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
    images: tuple[Path | Tensor, ...]


class _Content(NamedTuple):
    """The content of a turn: texts, marks (None), and images that stand in the content itself."""

    turn: Turn
    images: list[Any]  # None for the next image of the row


def is_conversation(values: Mapping[str, Any]) -> bool:
    """Return whether a row holds a conversation."""
    return any(isinstance(values.get(name), list) and values[name] for name in TURNS)


def conversation_of(row: TableRow, number: str, folder: Path) -> Conversation:
    """Return the conversation of a row.

    Args:
        row: The row.
        number: Its number, which is its key if it has no ``id``.
        folder: Folder of the images.

    Raises:
        InputError: A turn, a role, the number of marks or an image is invalid.
    """
    given = _given_images(row)
    contents = [_content(message, bool(given), row) for message in _messages(row)]
    if given and not any(content.images for content in contents):
        contents = _before_first_question(contents, len(given), row)
    names = _named(contents, given, row)
    turns = [content.turn for content in contents]
    last = max((place for place, turn in enumerate(turns) if turn.role == "assistant"), default=len(turns) - 1)
    turns = turns[: last + 1]
    if any(turn.role == "assistant" for turn in turns) and not any(turn.learned for turn in turns):
        raise InputError(f"{row.where}: no reply is learned, all have weight 0: give one a weight, or remove the row")
    used = names[: sum(turn.parts.count(None) for turn in turns)]
    return Conversation(row.where, _key(row, number), tuple(turns), tuple(_image(name, folder, row) for name in used))


def _key(row: TableRow, number: str) -> str:
    key = row.values.get("id", number)
    if isinstance(key, bool) or not isinstance(key, str | int) or not str(key).strip():
        raise InputError(f"{row.where}: id is {show(key)}: give a text or a whole number")
    return str(key)


def _messages(row: TableRow) -> Any:
    if not is_conversation(row.values):
        raise InputError(f"{row.where}: no turns in a column {' or '.join(TURNS)}: write a list of one or more")
    return next(row.values[name] for name in TURNS if row.values.get(name))


def _given_images(row: TableRow) -> list[Any]:
    """Return the images of the columns ``image`` and ``images``.

    Raises:
        InputError: There are none, but another column holds names of images.
    """
    given = row.values.get("images", row.values.get("image"))
    images = [] if given is None or given == "" else given if isinstance(given, list) else [given]
    if not images:
        for name, value in row.values.items():
            if isinstance(value, str) and name != "id" and value.lower().endswith(SUFFIXES):
                raise InputError(f"{row.where}: column {name!r} names the image {show(value)}: rename it to 'image'")
    return images


def _content(message: Any, marked: bool, row: TableRow) -> _Content:
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
    return _Content(Turn(role, tuple(parts), learned), images)


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
            yield {"image": next((part[name] for name in ("image", "path", "url") if part.get(name)), None)}
        elif kind == "image_url":
            url = part.get("image_url")
            yield {"image": url.get("url") if isinstance(url, dict) else url}
        else:
            raise InputError(f'{row.where}: {show(part)} is neither a text nor an image: see "Conversations"')


def _text(text: str) -> str:
    """Return a text in Unicode form NFC without unpaired surrogates; line breaks stay."""
    return normalize("NFC", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _before_first_question(contents: list[_Content], count: int, row: TableRow) -> list[_Content]:
    """Return the contents with ``count`` marks at the beginning of the first turn of the user."""
    first = next((place for place, content in enumerate(contents) if content.turn.role == "user"), None)
    if first is None:
        raise InputError(f"{row.where}: {count} images, but no turn of the user: add one, or remove the images")
    turn = contents[first].turn
    marked = _Content(turn._replace(parts=(*[None] * count, *turn.parts)), [None] * count)
    return [*contents[:first], marked, *contents[first + 1 :]]


def _named(contents: Sequence[_Content], given: Sequence[Any], row: TableRow) -> list[Any]:
    """Return the image at each mark: that of the content, or the next one of the row."""
    marks = [image for content in contents for image in content.images]
    if marks.count(None) != len(given):
        raise InputError(
            f"{row.where}: {marks.count(None)} marks ({MARK}) and {len(given)} images: give one image per mark; a "
            f'text that holds {MARK} is written as a list, [{{"type": "text", "text": …}}]'
        )
    rest = iter(given)
    return [next(rest) if image is None else image for image in marks]


def _image(name: Any, folder: Path, row: TableRow) -> Path | Tensor:
    """Return the path of an image, or its bytes if it is given as a ``data:`` address."""
    name = name.get("path") if isinstance(name, dict) else name
    try:
        if isinstance(name, str) and name.startswith("data:"):
            image: Path | Tensor = to_image(base64.b64decode(name.partition(",")[2], validate=True))
            return image
        if isinstance(name, str) and name.startswith(("http://", "https://")):
            raise InputError(f"{show(name)} is an address: download it and give the name of the file")
        return inside(folder, name)
    except (InputError, binascii.Error) as error:
        raise InputError(f"{row.where}: image {error}") from error

"""The tokens of conversations: by the chat template of a model, or with an end token after every turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from velm_lightning.text.chat_template import render
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import InputError, Turn

_SIGN = re.compile("\ue000(\\d+)\ue001")  # private characters, in place of the text of a turn


class EncodedTurns(NamedTuple):
    """The tokens of a conversation.

    Attributes:
        ids: (N,) tokens.
        learned: (N,) whether a token is learned.
        block_ids: (N,) 0 up to the first reply; every token of a reply has a block of its own, and all tokens between
            two replies share one.
        marks: the index of the token that each image directly precedes.
        dropped: number of turns that were dropped, because the whole was too long.
        images_dropped: number of images in these turns.
    """

    ids: list[int]
    learned: list[bool]
    block_ids: list[int]
    marks: list[int]
    dropped: int = 0
    images_dropped: int = 0


def encode_conversations(conversations: Sequence[Sequence[Turn]], vocabulary: Vocabulary) -> list[EncodedTurns]:
    """Return the tokens of conversations.

    One of more than ``vocabulary.max_length`` tokens loses its first turns, up to the question after a reply, until it
    fits or only one reply is left; no turn is cut. If it does not end with a reply, its tokens end where one begins.

    Raises:
        InputError: The template fails.

    Example:
        >>> import velm_lightning as velm
        >>> from velm_lightning.text.dialogue import encode_conversations
        >>> words = velm.MultimodalData(velm.ShapeCaptions(train=8, size=16)).vocabulary
        >>> turns = [velm.Turn("user", (None, "a red")), velm.Turn("assistant", ("star",), learned=True)]
        >>> row = encode_conversations([turns], words)[0]
        >>> row.block_ids, row.learned, row.marks
        ([0, 0, 0, 0, 1, 2], [False, False, False, False, True, True], [1])
    """
    texts = [part for turns in conversations for turn in turns for part in turn.parts if part is not None]
    encoded = iter(vocabulary.encode_whole(texts))
    result = []
    for turns in conversations:
        contents = [[None if part is None else next(encoded) for part in turn.parts] for turn in turns]
        result.append(_shortened(turns, contents, vocabulary))
    return result


def _shortened(turns: Sequence[Turn], contents: Sequence[list[list[int] | None]], words: Vocabulary) -> EncodedTurns:
    whole = row = _joined(turns, contents, words)
    system = 1 if turns and turns[0].role == "system" else 0
    starts = [at for at in range(system + 1, len(turns)) if turns[at].role != "assistant" == turns[at - 1].role]
    for start in starts:
        if len(row.ids) <= words.max_length:
            break
        remaining = [*range(system), *range(start, len(turns))]
        row = _joined([turns[at] for at in remaining], [contents[at] for at in remaining], words)
        row = row._replace(dropped=start - system, images_dropped=len(whole.marks) - len(row.marks))
    return row


def _joined(turns: Sequence[Turn], contents: Sequence[list[list[int] | None]], words: Vocabulary) -> EncodedTurns:
    """Join the texts of turns and the tokens between them."""
    roles = tuple(turn.role for turn in turns)
    between = tokens_between(words, roles)
    row = _Row(between[0])
    for turn, parts, after in zip(turns, contents, between[1:], strict=False):
        reply = turn.role == "assistant"
        for part in parts:
            if part is None:
                row.marks.append(len(row.ids))
            else:
                row.add(part, reply, turn.learned)
        if reply:  # its end is learned, too: the end token, up to which the template may write others
            end = after.index(words.end) + 1 if words.end in after else 0
            row.add(after[:end] or [words.end], True, turn.learned)
            after = after[end:]
        row.add(after, False, False)
    if roles and roles[-1] == "assistant":  # what a template writes after the last end is not part of it
        last = len(row.replies) - row.replies[::-1].index(True)
        del row.ids[last:], row.replies[last:], row.learned[last:]
    return EncodedTurns(row.ids, row.learned, _blocks(row.replies), row.marks)


class _Row:
    """Tokens, with whether each belongs to a reply and is learned, and the places of images."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids, self.replies, self.learned = list(ids), [False] * len(ids), [False] * len(ids)
        self.marks: list[int] = []

    def add(self, ids: Sequence[int], reply: bool, learned: bool) -> None:
        self.ids += ids
        self.replies += [reply] * len(ids)
        self.learned += [reply and learned] * len(ids)


def _blocks(replies: Sequence[bool]) -> list[int]:
    """Return the block of every token: a new one at every token of a reply, and after each reply."""
    block, blocks, before = 0, [], False
    for reply in replies:
        block += reply or before
        before = reply
        blocks.append(block)
    return blocks


def tokens_between(vocabulary: Vocabulary, roles: tuple[str, ...]) -> list[list[int]]:
    """Return the tokens before the first turn, between two turns, and after the last.

    If the last turn is not a reply, the last tokens are those before the reply. They depend only on the roles: a
    template is rendered once per sequence of roles.

    Raises:
        InputError: The template fails, or leaves out, repeats or reorders turns.
    """
    if vocabulary.chat_template is None:
        return [[vocabulary.start], *[[vocabulary.end] for _ in roles]]
    whole = roles if roles and roles[-1] == "assistant" else (*roles, "assistant")
    names = ("pad", "bos", "eos", "unk")
    ids = (vocabulary.pad, vocabulary.start, vocabulary.end, vocabulary.unknown)
    tokens = {f"{name}_token": vocabulary.tokenizer.id_to_token(i) for name, i in zip(names, ids, strict=True)}
    texts = _texts_between(vocabulary.chat_template, whole, tuple(tokens.items()))
    return [vocabulary.encode_markup(text) if text else [] for text in texts[: len(roles) + 1]]


@lru_cache(maxsize=4096)
def _texts_between(template: str, roles: tuple[str, ...], names: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the texts that a template writes around the turns, whose own texts it gets as signs."""
    messages = [{"role": role, "content": f"\ue000{place}\ue001"} for place, role in enumerate(roles)]
    parts = _SIGN.split(render(template, messages, variables={**dict(names), "add_generation_prompt": False}))
    if parts[1::2] != [str(place) for place in range(len(roles))]:
        raise InputError(
            f"chat template: of the turns {', '.join(roles)} it does not write every text once and in this order: "
            "change the roles, or use another template"
        )
    return parts[::2]

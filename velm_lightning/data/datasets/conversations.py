"""Conversations about any number of images, in the layouts that the field uses."""

from __future__ import annotations

from typing_extensions import override

from velm_lightning.data.datasets.conversation_samples import ConversationConverter
from velm_lightning.data.datasets.conversion import Converter
from velm_lightning.data.datasets.jsonlines import JSONLines
from velm_lightning.data.datasets.readers.row_source import RowSource


class Conversations(JSONLines):
    """Conversations from one file per split, in any format of ``DataFiles``; the layout is recognised row by row.

    - LLaVA and ShareGPT: ``conversations``, a list of ``{"from": "human", "value": "<image> What is it?"}``.
    - OpenAI, TRL and ms-swift: ``messages``, a list of ``{"role": "user", "content": …}``. A content is a text, or a
      list of texts and images: ``{"type": "text", "text": …}``, ``{"type": "image"}`` for the next image of the row,
      ``{"type": "image", "image": "cat.jpg"}`` or ``{"type": "image_url", "image_url": {"url": …}}``.

    - The Cauldron and FineVision: ``texts``, a list of ``{"user": "What is it?", "assistant": "A cat."}``.

    ``image`` or ``images`` holds file names or the bytes of images; in a tar shard they are the images of the sample.
    Each ``<image>`` in the texts of the user marks one of them; without marks the images precede the first text of the
    user. In rows without images, in replies, and in contents that are lists, ``<image>`` is text. A reply with
    ``"weight": 0`` or ``"loss": false`` is not learned.

    Training has one sample per conversation, which learns all replies; evaluation has one sample per reply, given the
    turns before it as written. Its group is the number of the reply: ``turn 1``, ``turn 2``, ….

    The arguments are those of ``JSONLines``; of ``columns`` only the image is used. ``DataFiles`` reads the same files,
    and recognises by their content that they hold conversations.

    Raises:
        InputError: No file is given, or ``holdout`` does not fit the files.

    Example:
        >>> import velm_lightning as velm
        >>> from pathlib import Path
        >>> row = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'
        >>> _ = Path("chat.jsonl").write_text(row)
        >>> velm.Conversations(train="chat.jsonl").split("train")[0].turns[1]
        Turn(role='assistant', parts=('Hello',), learned=True)
    """

    @override
    def converter(self, rows: RowSource, unlabelled: bool) -> Converter:
        return ConversationConverter(rows, self.locate, self.columns.get("image"))

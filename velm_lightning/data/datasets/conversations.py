"""Conversations about any number of images: the layouts of LLaVA, of OpenAI and TRL, and of ShareGPT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from typing_extensions import override

from velm_lightning.data.datasets.holdout import check_holdout, holdout_part
from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.data.datasets.messages import Conversation, conversation_of
from velm_lightning.io.files import clean_text, fault, read_rows
from velm_lightning.types import InputError, Sample, Turn


class Conversations(FileDataset):
    """Conversations from one file per split, JSON lines or a JSON list; the layout is recognised row by row.

    - LLaVA and ShareGPT: ``conversations``, a list of ``{"from": "human", "value": "<image> What is it?"}``.
    - OpenAI, TRL and ms-swift: ``messages``, a list of ``{"role": "user", "content": …}``. A content is a text, or a
      list of texts and images: ``{"type": "text", "text": …}``, ``{"type": "image"}`` for the next image of the row,
      ``{"type": "image", "image": "cat.jpg"}`` or ``{"type": "image_url", "image_url": {"url": …}}``.

    ``image`` or ``images`` holds the file names. Each ``<image>`` in the texts of the user marks one of them; without
    marks the images precede the first text of the user. In rows without images, in replies, and in contents that are
    lists, ``<image>`` is text. A reply with ``"weight": 0`` or ``"loss": false`` is not learned.

    Training has one sample per conversation, which learns all replies; evaluation has one sample per reply, given the
    turns before it as written. Its group is the number of the reply: ``turn 1``, ``turn 2``, ….

    Args:
        root: Folder to which the other paths are relative.
        train: File of the training split; likewise ``val`` and ``test``. None means an empty split.
        images: Folder of the images.
        holdout: Share of the training *images*, or of conversations without images, that become the validation split.

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

    def __init__(
        self,
        root: Path = Path("."),
        train: Path | None = None,
        val: Path | None = None,
        test: Path | None = None,
        images: Path = Path("."),
        holdout: float = 0.0,
    ) -> None:
        super().__init__(Path(root) / images)
        self.files = {"train": train, "val": val, "test": test}
        self.root, self.holdout = Path(root), holdout
        if not any(self.files.values()):
            raise InputError("name at least one file: train, val or test")
        check_holdout(holdout, train, val)

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        held = bool(self.holdout) and name == "val"
        file = self.files["train" if held else name]
        if file is None:
            return []
        talks = self._conversations(self.root / file, problems)
        if self.holdout and name != "test":
            talks = holdout_part(talks, self.holdout, held, self._name, lambda talk: _files(talk.images))
        samples: dict[str, Located] = {}
        for talk in talks:
            for sample in samples_of(talk, name == "train"):
                try:
                    add(samples, Located(talk.where, sample))
                except InputError as error:
                    fault(error, problems)
        return list(samples.values())

    def _conversations(self, path: Path, problems: list[str] | None) -> list[Conversation]:
        talks = []
        for number, row in enumerate(read_rows(path, problems)):
            try:
                talks.append(conversation_of(row, str(number), self.images))
            except InputError as error:
                fault(error, problems)
        if not talks:
            fault(InputError(f"{path}: holds no conversations: give at least one, or leave the file out"), problems)
        return talks

    def _name(self, talk: Conversation) -> str:
        """Return the name by which a conversation is held out: that of its first image, or its key."""
        files = _files(talk.images)
        return files[0].relative_to(self.images).as_posix() if files else talk.key


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


def _files(images: Sequence[object]) -> list[Path]:
    return [image for image in images if isinstance(image, Path)]

"""VisDial (Das et al. 2017, arXiv:1611.08669) from its official files: ten questions about an image in a dialogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.data.datasets.published.captioned import caption_text, records
from velm_lightning.data.images.folder import numbered_files
from velm_lightning.io.files import fault, show
from velm_lightning.io.paths import user_path
from velm_lightning.io.record_files import TableRow, read_json
from velm_lightning.types import InputError, Sample


class VisDial(FileDataset):
    """One sample per question, with the caption and the earlier questions and answers before it in the prompt.

    The key is "image id-round", the group the round. The last question of a test file has no answer, and its sample no
    references.

    Args:
        root: Folder to which the other paths are relative.
        train: File of the training split; likewise ``val`` and ``test``. None means an empty split.
        images: Folder with all images, found by the COCO number at the end of their names.
        rounds: Number of earlier rounds in the prompt. None means all.
        options: ``links`` and ``absolute_names`` of images; see ``FileDataset``.
    """

    official = True

    def __init__(
        self,
        root: Path = Path("."),
        train: Path | None = Path("visdial_1.0_train.json"),
        val: Path | None = Path("visdial_1.0_val.json"),
        test: Path | None = None,
        images: Path = Path("images"),
        rounds: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(user_path(root) / images, **options)
        self.root, self.files, self.rounds = user_path(root), {"train": train, "val": val, "test": test}, rounds
        if rounds is not None and rounds < 0:
            raise InputError(f"rounds must be at least 0, or null for all, got {rounds}")

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        file, samples = self.files[name], dict[str, Located]()
        if file is None:
            return []
        path = self.root / file
        whole: Any = read_json(path)
        data = whole.get("data") if isinstance(whole, dict) else None
        sentences = {kind: _sentences(data, kind, path) for kind in ("questions", "answers")}
        images = numbered_files(self.images)
        for row in records(data, path, "dialogs", ("image_id", "caption", "dialog"), problems):
            try:
                for sample in self._samples(row, sentences, images):
                    add(samples, Located(row.where, sample))
            except InputError as error:
                fault(error, problems)
        return list(samples.values())

    def _samples(
        self, row: TableRow, sentences: Mapping[str, Sequence[str]], images: Mapping[int, Path]
    ) -> Iterator[Sample]:
        number, rounds = row.values["image_id"], row.values["dialog"]
        if not isinstance(number, int) or number not in images:
            raise InputError(f"{row.where}: no image of number {show(number)} in {self.images}: correct the folder")
        if not isinstance(rounds, list) or not all(isinstance(entry, dict) for entry in rounds):
            raise InputError(f"{row.where}: dialog is {show(rounds)}: give a list of questions and answers")
        image = self.image_file(images[number].relative_to(self.images).as_posix(), row.where)
        caption, history = _closed(caption_text(row.values["caption"], row.where)), list[str]()
        for place, entry in enumerate(rounds, 1):
            question = _sentence(entry, "question", sentences["questions"], row)
            answer = _sentence(entry, "answer", sentences["answers"], row) if "answer" in entry else None
            question = question if question.endswith("?") else f"{question}?"
            recent = history if self.rounds is None else history[len(history) - min(self.rounds, len(history)) :]
            text = " ".join([caption, *recent, question])
            references = () if answer is None else (answer,)
            yield Sample(f"{number}-{place}", image, text, answer, references, f"round {place}")
            history.append(f"{question} {_closed(answer or '')}".strip())


def _closed(text: str) -> str:
    return f"{text}." if text and not text.endswith((".", "!", "?")) else text


def _sentences(data: object, kind: str, path: Path) -> list[str]:
    listed = data.get(kind) if isinstance(data, dict) else None
    if not isinstance(listed, list):
        raise InputError(f"{path}: has no list data.{kind}: is it a file of VisDial 1.0?")
    return listed


def _sentence(entry: Mapping[str, Any], kind: str, sentences: Sequence[str], row: TableRow) -> str:
    number = entry.get(kind)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(sentences):
        raise InputError(f"{row.where}: {kind} {show(number)} is none of the {len(sentences)} in the file: correct it")
    return caption_text(sentences[number], row.where, kind)

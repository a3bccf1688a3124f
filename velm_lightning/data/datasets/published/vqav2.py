"""VQA v2 (Goyal et al. 2017) from its official question and annotation files and the COCO image folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from typing_extensions import override

from velm_lightning.data.datasets.columns import sentence, soft_weights
from velm_lightning.data.datasets.holdout import check_holdout, holdout_part
from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.data.datasets.published.captioned import id_text, records
from velm_lightning.io.files import clean_text, fault, show
from velm_lightning.io.paths import user_path
from velm_lightning.io.record_files import TableRow, read_json
from velm_lightning.types import InputError, Sample


class _Source(NamedTuple):
    """The files of a split."""

    questions: Path
    annotations: Path | None
    folder: Path
    paths: dict[int, Path]  # shared by several questions


class VQAv2(FileDataset):
    """Questions with the answers of ten annotators; the weight of an answer is min(1, count / 3).

    Args:
        root: Folder of the question and annotation files.
        train: Subset of the training split. Test subsets have no annotations, and their samples no target and no
            references.
        val: Subset for validation, or ``null``.
        test: ``val2014``, ``test-dev2015``, ``test2015`` or ``null``.
        images: Folder with ``train2014/``, ``val2014/``, ``test2015/``; relative to ``root``.
        group: Annotation field by which scores are grouped.
        holdout: Share of the training images that become the validation split; requires ``val: null``.
        questions: Name of the question files; ``{}`` is the subset.
        annotations: Name of the annotation files.
        options: ``links`` and ``absolute_names`` of images; see ``FileDataset``.
    """

    official = True

    def __init__(
        self,
        root: Path,
        train: str | None = "train2014",
        val: str | None = "val2014",
        test: str | None = None,
        images: Path = Path("."),
        group: Literal["answer_type", "question_type"] = "answer_type",
        holdout: float = 0.0,
        questions: str = "v2_OpenEnded_mscoco_{}_questions.json",
        annotations: str = "v2_mscoco_{}_annotations.json",
        **options: Any,
    ) -> None:
        super().__init__(user_path(root) / images, **options)
        check_holdout(holdout, train, val)
        self.root, self.group, self.holdout = user_path(root), group, holdout
        self.subsets = {"train": train, "val": train if holdout else val, "test": test}
        self.names = questions, annotations

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        subset = self.subsets[name]
        if subset is None:
            return []
        samples = self._samples(self._source(subset), problems)
        if self.holdout and name != "test":
            return holdout_part(
                samples,
                self.holdout,
                name == "val",
                lambda item: _path(item.sample).name,
                lambda item: [_path(item.sample)],
            )
        return samples

    def _source(self, subset: str) -> _Source:
        questions, annotations = (self.root / name.format(subset) for name in self.names)
        folder = self.images / subset.replace("-dev", "")  # test-dev is a part of the test images
        return _Source(questions, None if subset.startswith("test") else annotations, folder, {})

    def _samples(self, source: _Source, problems: list[str] | None) -> list[Located]:
        samples: dict[str, Located] = {}
        answers = dict(self._annotations(source.annotations, problems)) if source.annotations else None
        asked = set()
        for row in _records(source.questions, "questions", ("question_id", "image_id", "question"), problems):
            asked.add(row.values["question_id"])
            try:
                add(samples, Located(row.where, self._sample(row, answers, source)))
            except InputError as error:
                fault(error, problems)
        for key, row in (answers or {}).items():
            if key not in asked:
                counts = f"{len(answers or {})} annotations, {len(asked)} questions"
                fault(InputError(f"{row.where}: has no question in {source.questions.name} ({counts})"), problems)
        return list(samples.values())

    def _sample(self, row: TableRow, answers: Mapping[str, TableRow] | None, source: _Source) -> Sample:
        key, image = row.values["question_id"], row.values["image_id"]
        if isinstance(image, bool) or not isinstance(image, int) or not 0 <= image < 10**12:
            raise InputError(f"{row.where}: image_id {show(image)} is not a COCO image number")
        if image not in source.paths:
            name = f"COCO_{source.folder.name}_{image:012d}.jpg"
            source.paths[image] = self.image_file(name, row.where, source.folder)
        path, text = source.paths[image], sentence(row.values["question"], "question", row)
        if answers is None:
            return Sample(key, path, text, None, ())
        if key not in answers:
            assert source.annotations is not None
            raise InputError(
                f"{row.where}: has no annotation in {source.annotations.name}: do the files belong together?"
            )
        annotation = answers[key]
        if annotation.values["image_id"] != image:
            raise InputError(f"{annotation.where}: image_id differs from the question's {image}: correct one of them")
        references = _answers(annotation)
        weights = soft_weights([answer.strip().lower() for answer in references])
        group = sentence(annotation.values.get(self.group), self.group, annotation, empty=True)
        return Sample(key, path, text, weights, references, group)

    def _annotations(self, path: Path, problems: list[str] | None) -> Iterator[tuple[str, TableRow]]:
        keys: set[str] = set()
        for row in _records(path, "annotations", ("question_id", "image_id", "answers"), problems):
            key = row.values["question_id"]
            if key in keys:
                fault(InputError(f"{row.where}: this question is annotated twice: remove one"), problems)
            keys.add(key)
            yield key, row


def _records(path: Path, name: str, fields: Sequence[str], problems: list[str] | None) -> Iterator[TableRow]:
    """Yield the records of an official file that have all fields, located by their question."""
    for row in records(read_json(path), path, name, fields, problems):
        try:
            row.values["question_id"] = id_text(row.values["question_id"], "question_id", row.where)
            yield row
        except InputError as error:
            fault(error, problems)


def _answers(row: TableRow) -> tuple[str, ...]:
    """Return the annotators' answers, each as one line, as in the official evaluation."""
    entries: Any = row.values["answers"]
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{row.where}: answers are {show(entries)}: give a list of {{"answer": …}}')
    answers = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("answer"), str):
            raise InputError(f'{row.where}: an answer is {show(entry)}: write {{"answer": "yes"}}')
        answers.append(_clean(entry["answer"]))
    return tuple(answers)


@lru_cache(2**16)  # millions of rows share a few thousand answers
def _clean(answer: str) -> str:
    return clean_text(answer)


def _path(sample: Sample) -> Path:
    assert isinstance(sample.image, Path)
    return sample.image

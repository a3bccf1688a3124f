"""Custom data: JSON lines, a JSON list, CSV or TSV, and a folder of images."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from velm_lightning.data.datasets.columns import Columns, RowConverter, suggestion
from velm_lightning.data.datasets.holdout import check_holdout, holdout_part
from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.io.files import fault, read_rows
from velm_lightning.types import InputError, Sample


class JSONLines(FileDataset):
    """Samples from one file per split, one row per sample: CSV or TSV by the suffix, else JSON lines or a JSON list.

    The columns are ``image``, ``text``, ``target``, ``answers``, ``group`` and ``key``; ``columns`` maps them to other
    names, or to ``null`` to ignore one. Only ``image`` and ``text`` are required.

    - ``image``: a file name below ``images``; a list is a clip.
    - ``text``: the prompt; ``columns.text: null`` if there is none, as in captioning.
    - ``target``: the target sentence. A list becomes one sample per sentence in training, else a list of references.
    - ``answers``: a label, a list of annotators' answers (weight min(1, count / 3)), or answers with weights.
    - ``group``: question type or the like. ``key``: unique; by default the row number.

    In a table (CSV, TSV) a cell of ``image``, ``target`` or ``answers`` may hold a list in Python or JSON syntax;
    ``NaN`` is a string. In JSON, ``NaN`` is a missing value, and 1, 1.0 and "1" are one label.

    Args:
        root: Folder to which the other paths are relative.
        train: File of the training split; likewise ``val`` and ``test``. None means an empty split.
        images: Folder of the images.
        columns: Names of columns that differ.
        holdout: Share of the training *images*, chosen by content and name, that become the validation split;
            copies of an image are in the same split.

    Example:
        >>> import velm_lightning as velm
        >>> from pathlib import Path
        >>> row = '{"image": "cat.jpg", "text": "what is it?", "answers": "a cat"}'
        >>> _ = Path("train.jsonl").write_text(row)
        >>> velm.JSONLines(train="train.jsonl").split("train")[0].target
        {'a cat': 1.0}
    """

    def __init__(
        self,
        root: Path = Path("."),
        train: Path | None = None,
        val: Path | None = None,
        test: Path | None = None,
        images: Path = Path("."),
        columns: Columns | None = None,
        holdout: float = 0.0,
    ) -> None:
        super().__init__(Path(root) / images)
        self.files = {"train": train, "val": val, "test": test}
        self.root, self.holdout = Path(root), holdout
        self.columns: dict[str, str | None] = dict(columns or {})  # type: ignore[arg-type]
        for name in self.columns.keys() - Columns.__annotations__.keys():
            near = difflib.get_close_matches(name, Columns.__annotations__, 1)
            raise InputError(f"columns.{name} is not one of {', '.join(Columns.__annotations__)}{suggestion(near)}")
        if not any(self.files.values()):
            raise InputError("name at least one file: train, val or test")
        check_holdout(holdout, train, val)

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        held = bool(self.holdout) and name == "val"
        file = self.files["train" if held else name]
        if file is None:
            return []
        samples = self._samples(self.root / file, name, problems)
        if self.holdout and name != "test":
            return holdout_part(
                samples,
                self.holdout,
                held,
                lambda item: _name(item.sample, self.images),
                lambda item: self.files_of(item.sample),
            )
        return samples

    def files_of(self, sample: Sample) -> Sequence[Path]:
        """Return the image files of a sample."""
        frames = sample.image if isinstance(sample.image, tuple) else (sample.image,)
        return [frame for frame in frames if isinstance(frame, Path)]

    def _samples(self, path: Path, name: str, problems: list[str] | None) -> list[Located]:
        rows = list(read_rows(path, problems))
        if not rows:
            fault(InputError(f"{path}: holds no rows: give a file with at least one, or leave {name} out"), problems)
            return []
        samples: dict[str, Located] = {}
        try:
            converter = RowConverter(self.columns, rows, self.images, name == "test")
        except InputError as error:
            fault(error, problems)
            return []
        for number, row in enumerate(rows):
            try:
                for sample in converter.samples(row, str(number), name == "train"):
                    add(samples, Located(row.where, sample))
            except InputError as error:
                fault(error, problems)
        return list(samples.values())


def _name(sample: Sample, images: Path) -> str:
    """Return the image's name relative to the image folder."""
    first = sample.image[0] if isinstance(sample.image, tuple) else sample.image
    assert isinstance(first, Path)
    return first.relative_to(images).as_posix()

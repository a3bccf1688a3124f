"""The user's own data: JSON lines, a JSON list, CSV or TSV beside a folder of pictures."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from velm_lightning.data.datasets.columns import Columns, Parts, meant
from velm_lightning.data.datasets.holdout import check_holdout, part_of
from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.io.files import fault, read_rows
from velm_lightning.types import InputError, Sample


class JSONLines(FileDataset):
    """Samples from a file a split, one row each; the suffix tells CSV and TSV from JSON lines or a JSON list.

    A column named ``image``, ``text``, ``target``, ``answers``, ``group`` or ``key`` is used as it is; ``columns``
    names those that the files call otherwise, and ``null`` leaves one out. Only ``image`` and ``text`` must be there.

    - ``image``: a file name below ``images``; a list of them is a clip.
    - ``text``: the prompt; ``text: null`` where there is none, as in captioning.
    - ``target``: a sentence to produce. Of a list, training makes a sample of each; elsewhere all are references.
    - ``answers``: a label, a list of what annotators said (weight min(1, count / 3)), or answers with weights.
    - ``group``: question type or the like. ``key``: unique; otherwise the row's number in its file.

    In a table (CSV, TSV) a cell of ``image``, ``target`` or ``answers`` may hold a list as Python or JSON writes it;
    ``NaN`` is a text. In JSON ``NaN`` is no value, and 1, 1.0 and "1" are one label.

    Args:
        root: folder that the other names are relative to.
        train: file of the training split, and so on; a split without a file is empty.
        images: folder of the pictures.
        columns: names of columns that differ.
        holdout: share of the training *images*, chosen by their content and name, that become the validation
            split: the same picture under two names is on one side.
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
            raise InputError(f"columns.{name} is not one of {', '.join(Columns.__annotations__)}{meant(near)}")
        if not any(self.files.values()):
            raise InputError("name at least one file: train, val or test")
        check_holdout(holdout, train, val)

    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        """See ``FileDataset.read``."""
        held = bool(self.holdout) and name == "val"
        file = self.files["train" if held else name]
        if file is None:
            return []
        found = self._samples(self.root / file, name, problems)
        if self.holdout and name != "test":
            return part_of(
                found,
                self.holdout,
                held,
                lambda one: _name(one.sample, self.images),
                lambda one: self.shown(one.sample),
            )
        return found

    def shown(self, sample: Sample) -> Sequence[Path]:
        """Return the files that a sample shows, as its row names them."""
        frames = sample.image if isinstance(sample.image, tuple) else (sample.image,)
        return [frame for frame in frames if isinstance(frame, Path)]

    def _samples(self, path: Path, name: str, problems: list[str] | None) -> list[Located]:
        rows = list(read_rows(path, problems))
        if not rows:
            fault(InputError(f"{path}: holds no rows: give a file with at least one, or leave {name} out"), problems)
            return []
        found: dict[str, Located] = {}
        try:
            parts = Parts(self.columns, rows, self.images, name == "test")
        except InputError as error:
            fault(error, problems)
            return []
        for number, row in enumerate(rows):
            try:
                for sample in parts.samples(row, str(number), name == "train"):
                    add(found, Located(row.where, sample))
            except InputError as error:
                fault(error, problems)
        return list(found.values())


def _name(sample: Sample, images: Path) -> str:
    """Return the image's name as the file has it: the same wherever the folder lies."""
    first = sample.image[0] if isinstance(sample.image, tuple) else sample.image
    assert isinstance(first, Path)
    return first.relative_to(images).as_posix()

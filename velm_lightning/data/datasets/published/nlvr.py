"""NLVR and NLVR2 (Suhr et al. 2017, 2019): true or false sentences about one or two images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from velm_lightning.data.datasets.columns import sentence
from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.data.datasets.published.captioned import id_text
from velm_lightning.io.files import clean_text, fault, show
from velm_lightning.io.paths import user_path
from velm_lightning.io.record_files import TableRow, read_rows
from velm_lightning.types import InputError, Sample


class NLVR(FileDataset):
    """Sentences with the label true or false, from the official JSON lines files.

    The defaults are those of NLVR, whose images exist in six orders of their boxes, with one sample per order. The two
    photos of NLVR2 are a clip of two frames: see ``conf/data/nlvr2.yaml``. A test file may lack the labels, and its
    rows the field ``directory``, as in ``hidden.json``: every directory is then searched for their images.

    Args:
        root: Folder to which the other paths are relative.
        train: File of the training split, or ``null``.
        val: File of the validation split.
        test: File of the test split.
        pictures: Image files of a sample. ``{split}`` is the name of the JSON file, ``{directory}``
            and ``{identifier}`` are those fields, ``{pair}`` the identifier without its last part, and
            ``{order}`` a number below ``orders``.
        orders: Number of orders in which an image exists.
        options: ``links`` and ``absolute_names`` of images; see ``FileDataset``.
    """

    official = True

    def __init__(
        self,
        root: Path = Path("."),
        train: Path | None = Path("train/train.json"),
        val: Path | None = Path("dev/dev.json"),
        test: Path | None = Path("test/test.json"),
        pictures: Sequence[str] = ("{split}/images/{directory}/{split}-{identifier}-{order}.png",),
        orders: int = 6,
        **options: Any,
    ) -> None:
        super().__init__(user_path(root), **options)
        self.root, self.files = user_path(root), {"train": train, "val": val, "test": test}
        self.pictures, self.orders = tuple(pictures), orders
        self._directories: dict[Path, list[str]] = {}
        if not self.pictures or orders < 1:
            raise InputError(f"pictures={list(pictures)} and orders={orders}: give at least one of each")

    @override
    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        file = self.files[name]
        samples: dict[str, Located] = {}
        for row in read_rows(self.root / file, problems) if file else ():
            try:
                for order in range(self.orders):
                    add(samples, Located(row.where, self._sample(row, Path(file or "").stem, order, name == "test")))
            except InputError as error:
                fault(error, problems)
        return list(samples.values())

    def _directory(self, fields: Mapping[str, object]) -> str:
        """Return the name of the folder that holds the first image of a row, or an empty string."""
        before, mark, after = self.pictures[0].partition("{directory}")
        folder = self.images / before.format(**fields)
        if not mark or not folder.is_dir():
            return ""
        if folder not in self._directories:
            self._directories[folder] = sorted(path.name for path in folder.iterdir() if path.is_dir())
        names = (name for name in self._directories[folder] if (folder / f"{name}{after.format(**fields)}").is_file())
        return next(names, "")

    def _sample(self, row: TableRow, split: str, order: int, unlabelled: bool) -> Sample:
        missing = [field for field in ("identifier", "sentence") if field not in row.values]
        if missing:
            raise InputError(f"{row.where}: has no {', '.join(missing)}: is it an official file?")
        identifier = id_text(row.values["identifier"], "identifier", row.where)
        pair = identifier.rpartition("-")[0]
        directory = clean_text(str(row.values.get("directory", "")))
        fields = {"split": split, "directory": directory, "identifier": identifier, "pair": pair, "order": order}
        try:
            if "directory" not in row.values:
                fields["directory"] = self._directory(fields)
            names = [name.format(**fields) for name in self.pictures]
        except KeyError as error:
            raise InputError(f"pictures: {{{error.args[0]}}} is none of {', '.join(fields)}") from None
        except (IndexError, AttributeError, ValueError) as error:
            raise InputError(
                f"pictures: {list(self.pictures)} cannot be filled ({error}): see its description"
            ) from None
        frames = tuple(self.image_file(name, row.where) for name in names)
        key = f"{identifier}-{order}" if self.orders > 1 else identifier
        image = frames if len(frames) > 1 else frames[0]
        text = sentence(row.values["sentence"], "sentence", row)
        label = str(row.values.get("label", "")).lower()
        if not label and unlabelled:
            return Sample(key, image, text, None, ())
        if label not in ("true", "false"):
            raise InputError(f"{row.where}: label is {show(row.values.get('label'))}: write true or false")
        return Sample(key, image, text, {label: 1.0}, (label,))

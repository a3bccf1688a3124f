"""NLVR and NLVR2 (Suhr et al. 2017, 2019): is a sentence about one picture, or about two, true?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from velm_lightning.data.datasets.captioned import id_text
from velm_lightning.data.datasets.columns import sentence
from velm_lightning.data.datasets.located import FileDataset, Located, add
from velm_lightning.io.files import TableRow, clean_text, fault, inside, read_rows, show
from velm_lightning.types import InputError, Sample


class NLVR(FileDataset):
    """Sentences with the label true or false, from the official JSON lines files.

    The defaults are those of NLVR, whose pictures exist in six orders of their boxes, each a sample. The two
    photos of NLVR2 are a clip of two frames: see ``conf/data/nlvr2.yaml``. A test file may lack its labels, and its
    rows the field ``directory``, as ``hidden.json``: their pictures are then looked for in every directory.

    Args:
        root: folder that the other names are relative to.
        train: file of the training split, or ``null``; and so on.
        val: file of the validation split.
        test: file of the test split.
        pictures: the files of a sample's pictures. ``{split}`` stands for the name of the JSON file, ``{directory}``
            and ``{identifier}`` for those fields, ``{pair}`` for the identifier without its last part, and
            ``{order}`` for the numbers below ``orders``.
        orders: in how many orders a picture exists.
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
    ) -> None:
        super().__init__(Path(root))
        self.root, self.files = Path(root), {"train": train, "val": val, "test": test}
        self.pictures, self.orders = tuple(pictures), orders
        self._directories: dict[Path, list[str]] = {}
        if not self.pictures or orders < 1:
            raise InputError(f"pictures={list(pictures)} and orders={orders}: give at least one of each")

    def read(self, name: str, problems: list[str] | None = None) -> list[Located]:
        """See ``FileDataset.read``."""
        file = self.files[name]
        found: dict[str, Located] = {}
        for row in read_rows(self.root / file, problems) if file else ():
            try:
                for order in range(self.orders):
                    add(found, Located(row.where, self._sample(row, Path(file or "").stem, order, name == "test")))
            except InputError as error:
                fault(error, problems)
        return list(found.values())

    def _directory(self, fields: Mapping[str, object]) -> str:
        """Return the name of the folder that holds the first picture of a row that does not name it; else nothing."""
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
            frames = tuple(inside(self.images, name.format(**fields)) for name in self.pictures)
        except InputError as error:
            raise InputError(f"{row.where}: image {error}") from error
        except KeyError as error:
            raise InputError(f"pictures: {{{error.args[0]}}} is none of {', '.join(fields)}") from None
        except (IndexError, AttributeError, ValueError) as error:
            raise InputError(
                f"pictures: {list(self.pictures)} cannot be filled ({error}): see its description"
            ) from None
        key = f"{identifier}-{order}" if self.orders > 1 else identifier
        image = frames if len(frames) > 1 else frames[0]
        text = sentence(row.values["sentence"], "sentence", row)
        label = str(row.values.get("label", "")).lower()
        if not label and unlabelled:
            return Sample(key, image, text, None, ())
        if label not in ("true", "false"):
            raise InputError(f"{row.where}: label is {show(row.values.get('label'))}: write true or false")
        return Sample(key, image, text, {label: 1.0}, (label,))

"""Samples from rows in memory: dictionaries, a pandas DataFrame, or a table of ``datasets``."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from typing_extensions import override

from velm_lightning.data.datasets.columns import Columns, column_names
from velm_lightning.data.datasets.conversion import converter_of
from velm_lightning.data.datasets.holdout import contents_of_files
from velm_lightning.data.datasets.image_names import ImageNames
from velm_lightning.data.datasets.located import Located, add
from velm_lightning.data.datasets.readers.references import with_all_references
from velm_lightning.data.datasets.readers.row_source import RowSource
from velm_lightning.data.images.image_like import to_image
from velm_lightning.io.digests import digest_of
from velm_lightning.io.files import show
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import SPLITS, Dataset, InputError, Sample, Source

Table = Iterable[Mapping[str, Any]]
"""Rows: an iterable of dictionaries, or a pandas DataFrame, or a table of ``datasets``."""

_NAMES = {"validation": "val", "valid": "val", "dev": "val"}  # names of the hub


class Rows(Dataset):
    """Samples from rows in memory, with the columns of ``JSONLines``.

    A cell of the column ``image`` is any form of image that ``to_image`` accepts, or a list of them, which is a clip.

    Args:
        rows: One table, or a table per split: ``{"train": …, "val": …, "test": …}``.
        images: Folder of images that are given by a relative path. None means the working directory.
        columns: Names of columns that differ, or None to ignore one.
        holdout: Share of the images of the training rows that is held out for validation, if no rows are given for it;
            from one table the same share is held out for testing. At least one image each; copies of an image stay
            together. 0 holds out none.

    Raises:
        InputError: The rows are neither a table nor tables by split, or a share is not in [0, 0.5).
    """

    def __init__(
        self,
        rows: Table | Mapping[str, Table],
        images: str | Path | None = None,
        columns: Columns | None = None,
        holdout: float = 0.1,
    ) -> None:
        if not 0 <= holdout < 0.5:
            raise InputError(f"holdout must be at least 0 and below 0.5, got {holdout}")
        self.columns = column_names(columns or {})
        self._images = _Images(images)
        tables = {name: _table_rows(name, table) for name, table in _by_split(rows).items()}
        self._splits = {name: self._samples(name, table) for name, table in tables.items()}
        missing = [name for name in ("val", "test")[: 1 if isinstance(rows, Mapping) else 2] if name not in tables]
        if holdout and missing and "train" in tables:
            evaluated = self._samples("train", tables["train"], training=False)
            self._splits |= held_out(self._splits["train"], evaluated, missing, holdout)

    @override
    def split(self, name: str) -> Sequence[Sample]:
        return self._splits.get(name, [])

    def _samples(self, split: str, rows: Sequence[TableRow], training: bool = True) -> list[Sample]:
        source = RowSource(lambda _: iter(rows))
        converter = converter_of(self.columns, source, self._images.locate, split == "test")
        training = training and split == "train"
        samples: dict[str, Located] = {}
        for number, row in enumerate(rows):
            for sample in converter.samples(row, str(number), training):
                add(samples, Located(row.where, sample))
        every = list(samples.values())
        return [located.sample for located in (every if training else with_all_references(every))]


class _Images:
    """Finds the images of rows, which may be in memory; equal ones are one object.

    Args:
        folder: Folder that images named by texts must be in. None means that they may be anywhere.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._tensors: dict[bytes, Tensor] = {}

    def locate(self, image: Any, where: str) -> Source:
        """Return the file of an image, or its pixels or bytes."""
        if isinstance(image, str) and self.folder is not None:
            return ImageNames().file(self.folder, image, where)
        try:
            source = to_image((self.folder or Path(".")) / image if isinstance(image, Path) else image)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        return self._tensors.setdefault(digest_of(source), source) if isinstance(source, Tensor) else source


def _table_rows(split: str, table: Table) -> list[TableRow]:
    """Return the rows of a table with their locations."""
    rows = [
        TableRow(f"row {number} of {split}", {name: _plain(value) for name, value in row.items()})
        for number, row in enumerate(_records(table))
    ]
    if not rows:
        raise InputError(f"the rows of {split} are empty: give at least one, or leave {split} out")
    return rows


def _plain(value: Any) -> Any:
    """Return a value in which tuples, and the arrays of objects that pandas reads from Parquet, are lists."""
    if isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.dtype == object):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def _by_split(rows: Any) -> dict[str, Table]:
    """Return the tables by the names ``train``, ``val`` and ``test``."""
    if not isinstance(rows, Mapping):
        return {"train": rows}
    tables: dict[str, Table] = {_NAMES.get(str(name), str(name)): table for name, table in rows.items()}
    if not tables or not set(tables) <= set(SPLITS):
        raise InputError(f"rows by split have the keys {show(list(rows))}: name them train, val and test")
    return tables


def _records(table: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table as dictionaries.

    Raises:
        InputError: It is not a table.
    """
    if hasattr(table, "iloc"):  # pandas
        table = table.to_dict("records")
    features = getattr(table, "features", None) or {}
    for name, feature in features.items():  # keeps the images of `datasets` as the bytes of their files
        if is_dataclass(feature) and not isinstance(feature, type) and getattr(feature, "decode", False) is True:
            table = table.cast_column(name, replace(feature, decode=False))
    if isinstance(table, str | bytes) or not isinstance(table, Iterable):
        raise InputError(f"rows are of type {type(table).__name__}: give dictionaries, a DataFrame or a table")
    labels = {name: feature.names for name, feature in features.items() if hasattr(feature, "int2str")}
    for number, row in enumerate(table):
        if not isinstance(row, Mapping):
            raise InputError(f"row {number} is of type {type(row).__name__}: give a dictionary of columns")
        yield row if not labels else {name: _label(value, labels.get(name)) for name, value in row.items()}


def _label(value: Any, names: Sequence[str] | None) -> Any:
    """Return the name of a label that is a number; -1 stands for none."""
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def held_out(
    samples: Sequence[Sample], evaluated: Sequence[Sample], names: Sequence[str], share: float
) -> dict[str, list[Sample]]:
    """Return the training split without its held-out images, and these by the names of their splits.

    The choice depends on the names or contents of the images, and not on the order of the rows.

    Args:
        samples: All samples for training.
        evaluated: The same for evaluation, where one may have several references.
        names: Splits that are made.
        share: Share of the images of each.

    Raises:
        InputError: There are fewer images than splits.
    """
    images = _contents(samples)
    order = sorted(dict.fromkeys(images), key=_draw)
    if len(order) <= len(names):
        raise InputError(
            f"{len(order)} images are too few to hold out some for {' and '.join(names)}: give rows by split, "
            '{"train": …, "val": …}, or set holdout to 0'
        )
    count = max(1, round(share * len(order)))
    chosen = {image: name for place, name in enumerate(names) for image in order[place * count : (place + 1) * count]}
    splits: dict[str, list[Sample]] = {name: [] for name in ("train", *names)}
    splits["train"] = [sample for sample, image in zip(samples, images, strict=True) if image not in chosen]
    for sample, image in zip(evaluated, _contents(evaluated), strict=True):
        if image in chosen:
            splits[chosen[image]].append(sample)
    if not splits["train"]:
        raise InputError(f"no image of {len(order)} is left for training: lower holdout={share}, or give rows by split")
    return splits


def _contents(samples: Sequence[Sample]) -> list[Hashable]:
    """Return a value per sample that is equal for equal images."""
    frames = [sample.image[0] if isinstance(sample.image, tuple) else sample.image for sample in samples]
    contents = contents_of_files(list(dict.fromkeys(frame for frame in frames if not isinstance(frame, Tensor))))
    return [digest_of(frame).hex() if isinstance(frame, Tensor) else contents[frame] for frame in frames]


def _draw(image: Hashable) -> str:
    text = image.name if isinstance(image, Path) else image.hex() if isinstance(image, bytes) else str(image)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

"""Reading the splits of a table in one pass over its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from velm_lightning.data.datasets.conversion import Converter
from velm_lightning.data.datasets.located import Located
from velm_lightning.data.datasets.packed import PackedRows, Packing
from velm_lightning.data.datasets.readers.references import with_all_references
from velm_lightning.io.files import TableRow, fault, show
from velm_lightning.types import InputError

SplitOf = Callable[[int], str | None]
"""Returns the split of a row by its number; None if the row is in none."""


class _OpenSplit:
    """A split while its rows are read; an error closes it, so that the other splits can be read on.

    Args:
        name: Its name.
        problems: If given, errors are appended to it and do not close the split.
    """

    def __init__(self, name: str, problems: list[str] | None) -> None:
        self.name, self.training, self.problems = name, name == "train", problems
        self.error: InputError | None = None
        self._packing, self._numbers = Packing(), dict[str, int]()

    def add(self, row: TableRow, number: int, converter: Converter) -> None:
        """Add the samples of a row."""
        try:
            for sample in converter.samples(row, str(number), self.training):
                self._add(Located(row.where, sample))
        except InputError as error:
            if self.problems is None:
                self.error = error
            fault(error, [] if self.problems is None else self.problems)

    def _add(self, located: Located) -> None:
        number = self._numbers.setdefault(located.sample.key, len(self._packing))
        if number < len(self._packing):
            other, key = self._packing.packed()[number].where, show(located.sample.key)
            raise InputError(f"{located.where}: key {key} is also in {other}: give each row its own key")
        self._packing.append(located)

    def close(self) -> tuple[PackedRows, str | None]:
        """Return the samples, and a remark if some of an evaluation were joined."""
        self._numbers.clear()
        rows = self._packing.packed()
        if self.training:
            return rows, None
        joined = Packing()
        for located in with_all_references(rows):
            joined.append(located)
        if len(joined) == len(rows):
            return rows, None
        remark = (
            f"{len(rows)} rows of {self.name} are {len(joined)} samples: those with the same image, text and group "
            "are references of one"
        )
        return joined.packed(), remark


def packed_splits(
    rows: Iterable[TableRow],
    converter: Converter,
    names: Sequence[str],
    split_of: SplitOf,
    problems: list[str] | None,
) -> tuple[Mapping[str, PackedRows | InputError], list[str]]:
    """Return the samples of splits, or the first error of a split, and remarks.

    Args:
        rows: The rows.
        converter: Converts them to samples.
        names: The splits.
        split_of: Returns the split of a row.
        problems: If given, errors of rows are appended to it and the rows are skipped.
    """
    splits = {name: _OpenSplit(name, problems) for name in names}
    for number, row in enumerate(rows):
        split = splits.get(split_of(number) or "")
        if split is not None and split.error is None:
            split.add(row, number, converter)
    closed = {name: split.error or split.close() for name, split in splits.items()}
    remarks = [result[1] for result in closed.values() if isinstance(result, tuple) and result[1]]
    return {name: result[0] if isinstance(result, tuple) else result for name, result in closed.items()}, remarks

"""Reading the splits of a table in one pass over its rows."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

from velm_lightning.data.datasets.conversion import Converter
from velm_lightning.data.datasets.holdout import held_out
from velm_lightning.data.datasets.located import Located
from velm_lightning.data.datasets.packed import PackedRows, Packing
from velm_lightning.data.datasets.readers.references import with_all_references
from velm_lightning.data.datasets.readers.row_source import RowSource
from velm_lightning.io.files import fault, show
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import InputError

SplitOf = Callable[[int], str | None]
"""Returns the split of a row by its number; None if the row is in none."""


def held_out_rows(
    rows: RowSource,
    subject: Callable[[TableRow, str], tuple[str, Sequence[Hashable]]],
    share: float,
    problems: list[str] | None,
) -> SplitOf:
    """Return the split of each row, ``train`` or ``val``; rows with a fault are in none.

    Args:
        rows: The rows.
        subject: Returns the name and the images of a row, given its number; see ``held_out``.
        share: Share of the images that is held out for ``val``.
        problems: If given, errors of rows are appended to it; else they are raised.
    """
    numbers = array("q")

    def subjects() -> Iterator[tuple[str, Sequence[Hashable]]]:
        for number, row in enumerate(rows):
            try:
                item = subject(row, str(number))
            except InputError as error:
                fault(error, problems)
                continue
            numbers.append(number)
            yield item

    decisions = held_out(subjects(), share)
    splits = (None, "train", "val")
    places = bytearray(max(numbers, default=-1) + 1)  # per row the place in `splits`
    for number, decision in zip(numbers, decisions, strict=True):
        places[number] = 1 + decision
    return lambda number: splits[places[number]] if number < len(places) else None


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

"""Samples from files of any format: tables, Parquet, Arrow, folders of images, tar shards."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from typing_extensions import override

from velm_lightning.data.datasets.columns import Columns, column_names
from velm_lightning.data.datasets.conversion import Converter, converter_of
from velm_lightning.data.datasets.holdout import check_holdout
from velm_lightning.data.datasets.image_names import located_image
from velm_lightning.data.datasets.located import FileDataset, Located
from velm_lightning.data.datasets.packed import PackedRows, Packing
from velm_lightning.data.datasets.packed_splits import held_out_rows, packed_splits
from velm_lightning.data.datasets.readers.reading import Reading
from velm_lightning.data.datasets.readers.recognition import expanded, rows_of
from velm_lightning.data.datasets.readers.row_source import RowSource
from velm_lightning.data.datasets.readers.sources import folder_with, image_folders, sources_of, unread_remarks
from velm_lightning.data.datasets.sample_cache import keep, kept, place_of
from velm_lightning.data.images.cache import default_folder
from velm_lightning.io.digests import digest_of
from velm_lightning.io.files import fault
from velm_lightning.io.paths import user_path
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import FilePart, Image, InputError, Sample, Source, frames_of

HOLDOUT = 0.1
"""Share of the training images that is held out if ``path`` has no validation split."""


class DataFiles(FileDataset):
    r"""Samples from files whose format is recognised by content, one row per sample.

    Formats: CSV, TSV and other tables of text, JSON lines and JSON lists; Parquet and Arrow, also with the bytes of
    images (extra ``parquet``); what ``datasets`` has saved to disk; a folder of images with ``metadata.csv``,
    ``metadata.jsonl`` or one subfolder per class; tar shards of WebDataset.

    The parts of a row are found under the usual names of columns, or under those of ``columns``, where ``null``
    ignores a part. Only the image is required.

    - ``image``: a file name below ``images``, or the bytes of a file; a list is a clip.
    - ``text``: the prompt; ``columns.text: null`` if there is none, as in captioning.
    - ``target``: the target sentence. A list becomes one sample per sentence in training, else a list of references.
      In evaluation, rows with the same image, text and group are one sample with several references.
    - ``answers``: a label, a list of annotators' answers (weight min(1, count / 3)), or answers with weights.
    - ``group``: question type or the like. ``key``: unique; by default the row number.

    In a table of text a cell of ``image``, ``target`` or ``answers`` may hold a list in Python or JSON syntax, and
    ``NaN`` is a string. In JSON, ``NaN`` is a missing value, and 1, 1.0 and "1" are one label.

    Args:
        path: A file or folder whose splits are found by their names, instead of ``train``, ``val`` and ``test``; or
            the name of a dataset of the hub, ``organisation/name`` (extra ``hub``), with ``--allow-network``.
        root: Folder to which the other paths are relative.
        train: File, folder or pattern (``train-*.parquet``, ``{000..009}.tar``) of the training split; likewise
            ``val`` and ``test``, also on the network (``https://``, ``s3://``, ``gs://``; extra ``remote``), with
            ``--allow-network`` on the command line. None means an empty split.
        images: Folder of images that are given by name. None means the folder of the table, ``path``, or the folder of
            the first table, or a subfolder of one of them: the first that holds the first image.
        columns: Names of columns that differ.
        holdout: Share of the training *images*, chosen by content and name, that become the validation split;
            copies of an image are in the same split. None means 0.1 for a ``path`` without validation split, else 0.
        links: Whether links to images may lead out of ``images``, as in snapshots of the hub, DVC and git-annex.
        absolute_names: Whether images may have absolute names, or names with ``~``.
        cache_dir: Folder of copies of files on the network, and of uncompressed Parquet tables with images. None means
            the user's cache folder.

    Attributes:
        remarks: What was found in the files, for ``velm data check``.

    Raises:
        InputError: An argument is out of its range, or ``path`` does not exist.

    Example:
        >>> import velm_lightning as velm
        >>> from pathlib import Path
        >>> _ = Path("photos.csv").write_text("file_name;question;answer\ncat.jpg;what is it?;a cat\n")
        >>> velm.DataFiles("photos.csv", holdout=0).split("train")[0].target
        {'a cat': 1.0}
    """

    def __init__(
        self,
        path: str | Path | None = None,
        root: Path = Path("."),
        train: str | Path | None = None,
        val: str | Path | None = None,
        test: str | Path | None = None,
        images: Path | None = None,
        columns: Columns | None = None,
        holdout: float | None = None,
        links: Literal["refuse", "follow"] = "refuse",
        absolute_names: bool = False,
        cache_dir: Path | None = None,
    ) -> None:
        self.root = user_path(root)
        named = {"train": train, "val": val, "test": test}
        self.cache_dir = user_path(cache_dir) if cache_dir else default_folder()
        self.sources = sources_of(path, named, self.root, self.cache_dir)
        single = {split: files[0] if len(files) == 1 else None for split, files in self.sources.items()}
        self.files = single | {split: user_path(file) for split, file in named.items() if isinstance(file, Path)}
        self._outer = self.root / user_path(path) if path is not None else None
        folder = self.root / user_path(images) if images is not None else image_folders(self.sources, "train")[0]
        super().__init__(folder, links, absolute_names)
        self.images_are_named = images is not None
        if holdout is None:
            holdout = HOLDOUT if path is not None and self.sources["train"] and not self.sources["val"] else 0.0
        self.remarks = dict.fromkeys(unread_remarks(self._outer, self.sources))
        self._read: dict[str, PackedRows | InputError] = {}
        self.holdout = holdout
        self.columns = column_names(columns or {})
        check_holdout(holdout, self.sources["train"], self.sources["val"])

    @override
    def read(self, name: str, problems: list[str] | None = None) -> Sequence[Located]:
        names = ("train", "val") if self.holdout and name != "test" else (name,)
        if not self.sources[names[0]]:
            return []
        if problems is not None:
            rows = self._read_splits((name,), problems)[name]
        else:
            if name not in self._read:
                self._read |= self._kept_or_read(names)
            rows = self._read[name]
        if isinstance(rows, InputError):
            raise rows
        return rows

    @override
    def _without_locations(self, rows: Sequence[Located]) -> Sequence[Sample]:
        return rows.samples if isinstance(rows, PackedRows) else super()._without_locations(rows)

    def _kept_or_read(self, names: Sequence[str]) -> Mapping[str, PackedRows | InputError]:
        """Return splits as any process has read them before, or read them."""
        sources = [file for source in self.sources[names[0]] for file in expanded(source)]
        place = place_of(sources, type(self), (names, self._init_args), self.cache_dir)
        if place is not None and (splits := kept(place)) is not None:
            self.remarks |= dict.fromkeys(splits.remarks)
            return splits.rows
        before = set(self.remarks)
        rows = self._read_splits(names, None)
        if place is not None:
            keep(place, rows, [remark for remark in self.remarks if remark not in before])
        return rows

    def files_of(self, image: Image) -> Sequence[Path | FilePart]:
        """Return the files of an image or clip, or of the images of a conversation."""
        return _files(image)

    def locate(self, name: Any, where: str) -> Source:
        """Return the image that a row names; what is a file or a part of one stays so."""
        return name if isinstance(name, Path | FilePart) else located_image(name, self.image_file, where)

    def converter(self, rows: RowSource, unlabelled: bool) -> Converter:
        """Return the conversion of rows to samples; ``unlabelled`` means that labels may be missing."""
        return converter_of(self.columns, rows, self.locate, unlabelled)

    def _read_splits(self, names: Sequence[str], problems: list[str] | None) -> Mapping[str, PackedRows | InputError]:
        """Read splits of one source: the training and the validation split if one is held out from the other."""
        name, held = names[0], bool(self.holdout) and names != ("test",)
        source = "train" if held else name
        sources = self.sources[source]
        nothing = dict.fromkeys(names, Packing().packed())
        rows = self._rows(sources, problems)
        if rows.first is None:
            named = ", ".join(map(str, sources))[:200]
            fault(InputError(f"{named}: holds no rows: give a file with at least one, or leave {name} out"), problems)
            return nothing
        try:
            converter = self.converter(rows, name == "test")
        except InputError as error:
            fault(error, problems)
            return nothing
        if not self.images_are_named:
            folders = image_folders(self.sources, source, self._outer)
            self.images = folder_with(converter.first_name(rows), folders, self.image_names.absolute)
        subject = partial(self._subject, converter)
        split_of = held_out_rows(rows, subject, self.holdout, problems) if held else lambda _: name
        splits, remarks = packed_splits(rows, converter, names, split_of, problems)
        self.remarks |= dict.fromkeys(
            f"{part} is read from the column {column!r}"
            for part, column in converter.names.items()
            if column not in (None, part) and part not in self.columns
        )
        self.remarks |= dict.fromkeys(remarks)
        return splits

    def _rows(self, sources: Sequence[Path], problems: list[str] | None) -> RowSource:
        """Return the rows of sources; those of a pipe, which can be read only once, are kept."""

        def read(problems: list[str] | None) -> Iterator[TableRow]:
            return rows_of(sources, Reading(self.cache_dir, problems, self.image_names))

        if all(file.is_file() or file.is_dir() or not file.exists() for file in sources):
            return RowSource(read, problems)
        every = list(read(problems))
        return RowSource(lambda _: iter(every))

    def _subject(self, converter: Converter, row: TableRow, number: str) -> tuple[str, Sequence[Hashable]]:
        """Return the name of a row's image, else the row's key, and the contents by which copies are recognised."""
        key, image = converter.subject(row, number)
        return self._name(image) or key, [*self.files_of(image), *_digests(image)]

    def _name(self, image: Image) -> str:
        """Return the name of an image relative to the folder of images, which may move; empty if there is no file."""
        first = next(iter(_files(image)), None)
        if isinstance(first, Path):
            return first.relative_to(self.images).as_posix() if first.is_relative_to(self.images) else first.as_posix()
        return "" if first is None else first.name or f"{first.file.name} {first.offset}"


def _files(image: Image) -> list[Path | FilePart]:
    return [frame for frame in frames_of(image) if isinstance(frame, Path | FilePart)]


def _digests(image: Image) -> list[bytes]:
    """Return the digests of the images that are in memory."""
    return [digest_of(frame) for frame in frames_of(image) if isinstance(frame, Tensor)]

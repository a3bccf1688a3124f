"""Arrow tables (Feather, and the files of ``datasets``), mapped into memory; encoded images are parts of the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from velm_lightning.data.datasets.readers.reading import Reader, Reading, arrow_module, derived_file, starts_with
from velm_lightning.io.atomic import make_folder, replacing
from velm_lightning.io.files import show
from velm_lightning.io.record_files import TableRow
from velm_lightning.types import FilePart, InputError

_FILE, _STREAM = b"ARROW1", b"\xff\xff\xff\xff"


def recognises(path: Path) -> bool:
    """Return whether a file is an Arrow file or stream."""
    return starts_with(path, _FILE) or (path.suffix == ".arrow" and starts_with(path, _STREAM))


def rows(path: Path, reading: Reading) -> Iterator[TableRow]:
    """Yield the rows of an Arrow table; a compressed one is written uncompressed into the cache folder.

    Raises:
        InputError: The file is damaged, or pyarrow is missing.
    """
    arrow = arrow_module("pyarrow", path)
    try:
        with arrow.memory_map(str(path)) as source:
            whole = source.read_buffer()
            opened = (arrow.ipc.open_file if starts_with(path, _FILE) else arrow.ipc.open_stream)(whole)
            batches = _batches_of(opened)
            first = list(islice(batches, 1))
            batches = chain(first, batches)
            if all(_is_mapped(batch, whole) for batch in first):
                yield from _rows(path, path, opened.schema, batches, whole)
                return
            copy = uncompressed(path, reading.cache_dir, opened.schema, batches)
        yield from copied_rows(path, copy)
    except InputError:
        raise
    except Exception as error:  # of pyarrow, and of the types of Python that its values become
        raise InputError(f"{path}: not an Arrow table that can be read ({show(str(error))}): replace it") from error


def copied_rows(path: Path, copy: Path) -> Iterator[TableRow]:
    """Yield the rows of a table from its uncompressed copy."""
    arrow = arrow_module("pyarrow", path)
    with arrow.memory_map(str(copy)) as source:
        whole = source.read_buffer()
        opened = arrow.ipc.open_file(whole)
        yield from _rows(path, copy, opened.schema, _batches_of(opened), whole)


def uncompressed(path: Path, folder: Path, schema: Any, batches: Iterable[Any]) -> Path:
    """Return the uncompressed Arrow copy of a table, which is written once; a second process waits.

    Raises:
        InputError: The folder cannot be written.
    """
    arrow = arrow_module("pyarrow", path)
    copy = derived_file(path, folder / "tables", ".arrow")
    make_folder(copy.parent)
    with FileLock(copy.with_suffix(".lock")):
        if not copy.is_file():
            plain = arrow.schema([field.with_type(_plain(arrow, field.type)) for field in schema], schema.metadata)
            with replacing(copy) as file, arrow.ipc.new_file(file, plain) as writer:
                for batch in batches:
                    columns = zip(batch.columns, plain.types, strict=True)  # pyarrow casts some columns wrongly
                    cast = [column if column.type == kind else column.cast(kind) for column, kind in columns]
                    writer.write_batch(arrow.record_batch(cast, plain))
    return copy


def is_image_type(kind: Any) -> bool:
    """Return whether a column of a type holds encoded images: bytes, records of bytes and path, or lists of them."""
    types = arrow_module("pyarrow", Path()).types
    if types.is_list(kind) or types.is_large_list(kind):
        return is_image_type(kind.value_type)
    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and is_image_type(kind.field("bytes").type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def labels_of(schema: Any) -> dict[str, list[str]]:
    """Return the names of the labels of columns that hold numbers of labels, as ``datasets`` records them."""
    labels = {}
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        for name, feature in features.items():
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
                labels[name] = [str(label) for label in feature["names"]]
    return labels


def plain_rows(path: Path, schema: Any, batches: Iterable[Any], parts: Any = None) -> Iterator[TableRow]:
    """Yield the rows of batches; ``parts`` returns the cells of a column of images."""
    labels, number = labels_of(schema), 0
    for batch in batches:
        columns = {}
        for name, column in zip(schema.names, batch.columns, strict=True):
            cells = parts(column) if is_image_type(column.type) and parts else column.to_pylist()
            columns[name] = [_label(cell, labels[name]) for cell in cells] if name in labels else cells
        for values in zip(*columns.values(), strict=True):
            yield TableRow(f"{path}: row {number}", dict(zip(columns, values, strict=True)))
            number += 1


def _label(cell: Any, names: list[str]) -> Any:
    return names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else None


def _rows(path: Path, file: Path, schema: Any, batches: Iterable[Any], whole: Any) -> Iterator[TableRow]:
    yield from plain_rows(path, schema, batches, lambda column: _cells(column, file, whole))


def _batches_of(opened: Any) -> Iterator[Any]:
    """Yield the batches of a file or stream, checked: offsets of a damaged one would lead out of its memory."""
    whole = hasattr(opened, "get_batch")
    for batch in (opened.get_batch(number) for number in range(opened.num_record_batches)) if whole else opened:
        batch.validate(full=True)
        yield batch


def _is_mapped(batch: Any, whole: Any) -> bool:
    """Return whether the columns of images of a batch lie uncompressed in the file."""
    return all(_lies_in(_bytes_of(column), whole) for column in batch.columns if is_image_type(column.type))


def _bytes_of(column: Any) -> Any:
    types = arrow_module("pyarrow", Path()).types
    while not (types.is_binary(column.type) or types.is_large_binary(column.type) or types.is_binary_view(column.type)):
        column = column.field("bytes") if types.is_struct(column.type) else column.values
    return column


def _lies_in(column: Any, whole: Any) -> bool:
    if arrow_module("pyarrow", Path()).types.is_binary_view(column.type):
        return False
    data = column.buffers()[2]
    return data is None or not data.size or 0 <= data.address - whole.address <= whole.size - data.size


def _cells(column: Any, file: Path, whole: Any) -> list[Any]:
    """Return the cells of a column of images: parts of the file, names of files, None, or lists of them."""
    types = arrow_module("pyarrow", Path()).types
    if types.is_list(column.type) or types.is_large_list(column.type):
        items, ends = _cells(column.values, file, whole), column.offsets.to_pylist()
        lists = [items[start:end] for start, end in zip(ends, ends[1:], strict=False)]
        return [cell if valid else None for cell, valid in zip(lists, column.is_valid().to_pylist(), strict=True)]
    if not types.is_struct(column.type):
        return _parts(column, [""] * len(column), file, whole)
    has_names = column.type.get_field_index("path") >= 0
    names = column.field("path").to_pylist() if has_names else [None] * len(column)
    parts = _parts(column.field("bytes"), names, file, whole)
    valid = column.is_valid().to_pylist()
    return [(part or name) if good else None for part, name, good in zip(parts, names, valid, strict=True)]


def _parts(column: Any, names: list[str | None], file: Path, whole: Any) -> list[FilePart | None]:
    _, offsets, data = column.buffers()
    kind = np.int64 if arrow_module("pyarrow", Path()).types.is_large_binary(column.type) else np.int32
    ends = np.frombuffer(offsets, kind)[column.offset : column.offset + len(column) + 1].tolist() if offsets else [0]
    start = data.address - whole.address if data is not None else 0
    parts: list[FilePart | None] = []
    for number, valid in enumerate(column.is_valid().to_pylist()):
        first, last = ends[number], ends[number + 1]
        parts.append(FilePart(file, start + first, last - first, names[number] or "") if valid else None)
    return parts


def _plain(arrow: Any, kind: Any) -> Any:
    """Return the type in which views are ordinary columns, whose bytes have one place in the file."""
    if arrow.types.is_binary_view(kind):
        return arrow.large_binary()
    if arrow.types.is_struct(kind):
        return arrow.struct([field.with_type(_plain(arrow, field.type)) for field in kind])
    if arrow.types.is_list(kind):
        return arrow.list_(kind.value_field.with_type(_plain(arrow, kind.value_type)))
    return kind


ARROW = Reader("an Arrow table", recognises, rows)

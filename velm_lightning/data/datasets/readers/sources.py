"""Where the files of each split are, and where the images that they name may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from velm_lightning.data.datasets.readers.hub_tables import hub_tables
from velm_lightning.data.datasets.readers.recognition import splits_of, unread_tables
from velm_lightning.data.datasets.readers.remote import is_address, local_copies
from velm_lightning.io.files import inside
from velm_lightning.io.paths import is_hub_name, user_path
from velm_lightning.types import InputError


def sources_of(
    path: str | Path | None, named: Mapping[str, str | Path | None], root: Path, cache_dir: Path
) -> dict[str, list[Path]]:
    """Return the files or folders of each split; those on the network are copied.

    Args:
        path: A file or folder whose splits are found by their names, or the name of a dataset of the hub.
        named: The file of each split, if there is no ``path``.
        root: Folder to which paths are relative.
        cache_dir: Folder of the copies.

    Raises:
        InputError: Neither or both are given, or ``path`` does not exist.
    """
    given = [split for split, file in named.items() if file is not None]
    if (path is None) == (not given):
        more = f", not both: `path` and {', '.join(given)}" if given else ""
        raise InputError(f"name at least one file: train, val or test, or `path`{more}")
    if path is None:
        return {split: [] if file is None else _located(file, root, cache_dir) for split, file in named.items()}
    if is_hub_name(path) and not (root / path).exists():
        tables = hub_tables(str(path))
    else:
        places = _located(path, root, cache_dir)
        tables = splits_of(places[0]) if len(places) == 1 else {"train": places}
    return {split: tables.get(split, []) for split in named}


def _located(name: str | Path, root: Path, cache_dir: Path) -> list[Path]:
    if isinstance(name, str) and is_address(name):
        return local_copies(name, cache_dir)
    return [root / user_path(name)]


def unread_remarks(folder: Path | None, sources: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Yield a remark if a folder holds tables that are not read."""
    if folder is not None and (others := unread_tables(folder, [file for files in sources.values() for file in files])):
        yield (
            f"{len(others)} tables in {folder} are not read: {others[0].name}; tables of one format are, only those of "
            "splits if names state them: to read it, name the file"
        )


def image_folders(sources: Mapping[str, Sequence[Path]], split: str, outer: Path | None = None) -> list[Path]:
    """Return where the images of a split may be.

    Args:
        sources: The files or folders of each split.
        split: The split; if it has no files, the first that has.
        outer: The folder in which the files were found, if it is one.

    Returns:
        The folder of its first file, then ``outer``, then the folder of the first file of any split.
    """
    first = [*sources[split], *(source for files in sources.values() for source in files)]
    of_split, any_split = (file if file.is_dir() else file.parent for file in (first[0], first[len(sources[split])]))
    return list(dict.fromkeys([of_split, *([outer] if outer is not None and outer.is_dir() else []), any_split]))


def folder_with(name: str | None, folders: Sequence[Path], absolute: bool) -> Path:
    """Return the first of folders that holds the image of a name, itself or in a subfolder; else the first.

    Args:
        name: The name; None if images have none.
        folders: The folders.
        absolute: Whether names may be absolute.
    """
    for folder in folders if name is not None else ():
        inner = sorted(item for item in folder.iterdir() if item.is_dir()) if folder.is_dir() else []
        for place in (folder, *inner):
            with suppress(InputError):  # which is raised when the row is converted
                if inside(place, name, follow=True, absolute=absolute).exists():
                    return place
    return folders[0]

"""Paths as users write them."""

from __future__ import annotations

import re
from pathlib import Path


def user_path(text: str | Path) -> Path:
    """Return a path in which ``~`` and ``~name`` at the start stand for a home folder.

    A shell expands them only at the start of a word, not in ``--option=~/file`` or in a config.

    Example:
        >>> user_path("~/runs") == Path.home() / "runs"
        True
    """
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user
        return path


def is_folder_name(text: str) -> bool:
    """Return whether a text names one folder, and not one elsewhere."""
    return text not in ("", ".", "..") and "\0" not in text and Path(text).name == text


def expand_home() -> None:
    """Let every parser of jsonargparse read arguments of type ``Path`` by ``user_path``; calls may repeat."""
    from jsonargparse.typing import register_type

    register_type(Path, str, user_path, type_check=isinstance)


_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?")
_SUFFIXES = "csv|tsv|txt|jsonl?|ndjson|ya?ml|parquet|arrow|feather|tar|tgz|gz|zip|ckpt|pt"
_FILE_SUFFIX = re.compile(rf"\.({_SUFFIXES})", re.IGNORECASE)


def is_hub_name(name: str | Path) -> bool:
    """Return whether a name can be ``organisation/name`` of the Hugging Face hub, and is no file or folder here.

    Names like those of files, and names in a folder that exists, are not.

    Example:
        >>> is_hub_name("lmms-lab/DocVQA"), is_hub_name("photos/train.csv")
        (True, False)
    """
    text = str(name)
    if _HUB_NAME.fullmatch(text) is None or _FILE_SUFFIX.fullmatch(Path(text.partition(":")[0]).suffix):
        return False
    return not Path(text.partition("/")[0]).exists()


def stands_for_files(name: str | Path) -> bool:
    """Return whether a name is no file but stands for some: a pattern, or the name of a dataset of the hub."""
    return is_pattern(name) or is_hub_name(name)


def is_pattern(name: str | Path) -> bool:
    """Return whether a name stands for several files: ``train-*.parquet``, ``{000..009}.tar``."""
    return bool(set("*?[{") & set(str(name)))

"""Paths as users write them."""

from __future__ import annotations

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
    return text not in ("", ".", "..") and Path(text).name == text


def expand_home() -> None:
    """Let every parser of jsonargparse read arguments of type ``Path`` by ``user_path``; calls may repeat."""
    from jsonargparse.typing import register_type

    register_type(Path, str, user_path, type_check=isinstance)

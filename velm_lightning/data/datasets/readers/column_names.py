"""Which column of a table holds which part of a sample."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence

from velm_lightning.io.files import show
from velm_lightning.types import InputError

IMAGE_NAMES = (
    "image",
    "images",
    "file_name",
    "filename",
    "image_file",
    "image_path",
    "img",
    "photo",
    "picture",
    "image_name",
)
"""The usual names of a column of images."""

USUAL_NAMES = {
    "image": (*IMAGE_NAMES, "file_path", "filepath", "path"),  # of any file: an image if there must be one
    "text": ("text", "question", "prompt"),
    "target": ("target", "caption", "captions"),
    "answers": ("answers", "answer", "label", "labels"),
    "group": ("group",),
    "key": ("key",),
}
"""The names under which the parts of a row are looked for, in this order, if ``columns`` does not name them.

Capitals do not count if no column has one of the names exactly; for a label, one of the names of either kind.
"""


def choose_columns(
    columns: Mapping[str, str | None], known: Mapping[str, None], where: str, optional: Collection[str]
) -> dict[str, str | None]:
    """Return the column of each part, as named or under its usual name.

    Raises:
        InputError: Columns are missing, or both kinds of labels exist.
    """
    taken = {name for name in columns.values() if name}
    free = [name for name in known if name not in taken]
    names = {
        part: columns[part] if part in columns else next((name for name in usual if name in free), None)
        for part, usual in USUAL_NAMES.items()
    }
    names |= _in_capitals([part for part in names if names[part] is None and part not in columns], names, free)
    _choose_label(names, columns, where)
    missing = [
        f"{name!r} (columns.{part}{suggestion(difflib.get_close_matches(name, map(str, known), 1), ', ')})"
        for part, name in names.items()
        if name is not None and name not in known and (part == "group" or part not in optional)
    ]
    if missing:
        raise InputError(f"{where}: no column {', no column '.join(missing)} in {list_of(known)}: correct the names")
    rest = [name for name in known if name not in names.values()]
    unclear = [part for part in ("image", "text") if part not in columns and names[part] is None]
    if "text" in unclear and (not rest or (names["target"] or "").lower() in ("caption", "captions")):
        unclear.remove("text")  # a labelled or captioned image has no prompt
    if unclear:
        leave = ", or `text: null` for none" if "text" in unclear else ""
        parts = ", no column ".join(map(repr, unclear))
        settings = " and ".join(f"columns.{part}" for part in unclear)
        raise InputError(f"{where}: no column {parts} in {list_of(known)}: set {settings}{leave}")
    return names


def _in_capitals(parts: Sequence[str], names: Mapping[str, str | None], free: Sequence[str]) -> dict[str, str | None]:
    """Return the columns of parts without a usual name, whose names equal a usual one except for capitals."""
    spelt = {str(name).lower(): name for name in reversed(free)}
    labels = {"target", "answers"} if names["target"] or names["answers"] else set[str]()
    return {
        part: next((spelt[name] for name in USUAL_NAMES[part] if name in spelt), None)
        for part in parts
        if part not in labels
    }


def _choose_label(names: dict[str, str | None], columns: Mapping[str, str | None], where: str) -> None:
    """Keep one kind of label: the one that ``columns`` names, else the one whose column has the part's own name."""
    if not names["target"] or not names["answers"]:
        return
    for stays, goes in (("answers", "target"), ("target", "answers")):
        exact = names[stays] == stays and names[goes] != goes
        if (columns.get(stays) or exact) and not columns.get(goes):
            names[goes] = None
            return
    raise InputError(f"{where}: both target and answers: set columns.target or columns.answers to null")


def list_of(names: Iterable[str]) -> str:
    """Return the names of columns, shortened, for a message."""
    return show(", ".join(map(str, names)))


def suggestion(near: Sequence[str], joint: str = "; ") -> str:
    """Return a hint with the most similar valid name, for the end of a message or, after a comma, within it."""
    return f"{joint}did you mean {near[0]!r}?" if near else ""

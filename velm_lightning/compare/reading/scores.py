"""The predictions of a run in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from velm_lightning.compare.reading.files import printable
from velm_lightning.errors import InputError
from velm_lightning.io.groups import belongs
from velm_lightning.io.plain import LARGEST, number_of


class Scores(NamedTuple):
    """The predictions of a run in columns, without samples that have no score.

    Attributes:
        keys: N sample keys.
        images: N names of images; the key of the sample if the file names none.
        groups: N names of groups.
        values: (N,) scores.
        losses: (N,) losses, NaN for samples without a finite one.
        predictions: N predictions.
        references: N tuples of references.
        prompts: N prompts.
        confidences: (N,) probabilities of the predictions, NaN for samples without one.
    """

    keys: tuple[str, ...]
    images: tuple[str, ...]
    groups: tuple[str, ...]
    values: NDArray[np.float64]
    losses: NDArray[np.float64]
    predictions: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    prompts: tuple[str, ...]
    confidences: NDArray[np.float64]

    def of_group(self, name: str) -> Scores:
        """Return the samples of one group and its parts."""
        chosen = [place for place, group in enumerate(self.groups) if belongs(group, name)]
        return Scores(*(_pick(column, chosen) for column in self))


def _pick(column: Any, places: list[int]) -> Any:
    return column[places] if isinstance(column, np.ndarray) else tuple(column[place] for place in places)


def scores_of(rows: Sequence[Mapping[str, Any]], name: str) -> Scores:
    """Return rows of predictions in columns.

    Args:
        rows: the rows.
        name: the name of their file, for messages.

    Raises:
        InputError: If a row lacks a field or has a score that is not finite.
    """
    try:
        for row in rows:
            printable(row["key"])
            printable(row.get("image") or "")
        scored = [row for row in rows if row["score"] is not None]
        if not np.all(np.array([abs(row["score"]) for row in scored]) <= LARGEST):  # numpy takes lists of numbers
            raise InputError(f"{name} has scores that are not finite")
        return Scores(
            keys=tuple(printable(row["key"]) for row in scored),
            images=tuple(printable(row.get("image") or row["key"]) for row in scored),
            groups=tuple(printable(row.get("group") or "") for row in scored),
            values=np.array([row["score"] for row in scored], float),
            losses=np.array([number_of(row.get("loss")) for row in scored], float),
            predictions=tuple(printable(str(row.get("prediction", ""))) for row in scored),
            references=tuple(tuple(printable(str(text)) for text in row.get("references") or ()) for row in scored),
            prompts=tuple(printable(str(row.get("prompt") or "")) for row in scored),
            confidences=np.array([number_of(row.get("confidence")) for row in scored], float),
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{name} has rows that are not predictions: {error}") from error

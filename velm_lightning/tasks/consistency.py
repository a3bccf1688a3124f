"""Additional metrics of a whole table: consistency over the samples of a statement."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from typing_extensions import override

from velm_lightning.io.configurable import Configurable
from velm_lightning.tasks.rows import mean
from velm_lightning.types import InputError, Prediction


class TableMetric(Configurable, ABC):
    """A metric that is computed from all rows of an evaluation; ``name`` is its name in logs and tables."""

    name: str

    @abstractmethod
    def __call__(self, rows: Sequence[Prediction]) -> float:
        """Return the metric of scored rows; NaN if it does not apply."""


class Consistency(TableMetric):
    """The share of statements that are judged correctly for every image (Suhr et al. 2019, "consistency").

    The samples of one statement are those whose keys agree in some of their parts. The defaults are those of NLVR2,
    whose keys are "split-set-pair-sentence": a statement is a set and a sentence, with up to four pairs of photos. For
    NLVR, whose keys are "set-picture-order", use the first part: ``parts: [0]``. Both equal the official scripts.
    Samples without a score are excluded.

    Args:
        parts: the indices of the parts of a key that identify its statement, from 0.
        separator: the string between the parts.

    Raises:
        InputError: no part is named, or a key has fewer parts.

    Example:
        >>> row = Prediction("dev-1-0-0", "", "", "true", ("true",), 1.0, 0.5, 0.1)
        >>> Consistency()([row, row._replace(key="dev-1-1-0", score=0.0), row._replace(key="dev-1-0-1")])
        0.5
    """

    name = "consistency"

    def __init__(self, parts: Sequence[int] = (0, 1, 3), separator: str = "-") -> None:
        if not parts or min(parts) < 0 or not separator:
            raise InputError(f"Consistency: parts={list(parts)} and separator={separator!r} must name parts of keys")
        self.parts, self.separator = tuple(parts), separator

    @override
    def __call__(self, rows: Sequence[Prediction]) -> float:
        """Return the share of statements whose samples all have score 1."""
        right: dict[tuple[str, ...], bool] = {}
        for row in rows:
            if not math.isnan(row.score):
                statement = self._statement(row.key)
                right[statement] = right.get(statement, True) and row.score == 1
        return mean(map(float, right.values()))

    def _statement(self, key: str) -> tuple[str, ...]:
        words = key.split(self.separator)
        if len(words) <= max(self.parts):
            raise InputError(
                f"Consistency: key {key!r} has {len(words)} parts at {self.separator!r}, and parts={list(self.parts)} "
                "names a later one: name those of this dataset's keys"
            )
        return tuple(words[part] for part in self.parts)

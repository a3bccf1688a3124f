"""How produced sentences are scored: captions by the COCO evaluation, translations by sacrebleu."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from velm_lightning.metrics.captions import score_captions
from velm_lightning.metrics.references import References
from velm_lightning.recipe import Recorded
from velm_lightning.types import Row


class SentenceScorer(Recorded, ABC):
    """Scores a table of sentences; ``name`` is the headline among its figures."""

    name: str

    @abstractmethod
    def score(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with the headline metric of each sample."""

    @abstractmethod
    def figures(self, rows: Sequence[Row]) -> dict[str, float]:
        """Compute every figure of the whole table."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """Name scorer, version and tokeniser, for the record."""


class Captions(SentenceScorer):
    """BLEU-1…4, ROUGE-L and CIDEr-D, equal to the COCO caption evaluation (Chen et al. 2015); CIDEr-D is the headline.

    The references are indexed once and used in every epoch.
    """

    name = "cider_d"

    def __init__(self) -> None:
        self._index: tuple[int, References] | None = None

    def _references(self, rows: Sequence[Row]) -> References:
        mark = hash(tuple((row.key, row.references) for row in rows))
        if self._index is None or self._index[0] != mark:
            self._index = mark, References({row.key: row.references for row in rows})
        return self._index[1]

    def score(self, rows: Sequence[Row]) -> list[Row]:
        """See ``SentenceScorer.score``."""
        said = {row.key: row.prediction for row in rows}
        found = score_captions(said, self._references(rows), ("CIDEr-D",))["CIDEr-D"].samples
        return [row._replace(score=float(value)) for row, value in zip(rows, found, strict=True)]

    def figures(self, rows: Sequence[Row]) -> dict[str, float]:
        """See ``SentenceScorer.figures``."""
        found = score_captions({row.key: row.prediction for row in rows}, self._references(rows))
        return {name.lower().replace("-", "_"): score.corpus for name, score in found.items()}

    @property
    def signature(self) -> str:
        """See ``SentenceScorer.signature``."""
        return "CIDEr-D as coco-caption, PTB tokens"

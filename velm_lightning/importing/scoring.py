"""How imported predictions are scored: by the tool's own scores, or again by a scorer of this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from typing_extensions import override

from velm_lightning.metrics.signature import signature_of
from velm_lightning.tasks.rows import mean
from velm_lightning.tasks.scorers import Exact, VQAAccuracy
from velm_lightning.tasks.sentences import Answers, Captions, SentenceScorer
from velm_lightning.types import Prediction


class GivenScores(SentenceScorer):
    """Keeps the scores that another tool computed; the figure is their mean.

    Args:
        figure: the tool's name of the score.
        tool: the tool, which is a part of the signature.

    Example:
        >>> GivenScores("exact_match", "lmms-eval").name
        'exact_match'
    """

    needs_references = False

    def __init__(self, figure: str, tool: str) -> None:
        self.name, self.tool = figure, tool

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        return list(rows)

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        return {self.name: mean(row.score for row in rows)}

    @override
    def signature(self, split: str) -> str:
        return signature_of(self.name.replace("|", "/"), split=split, scorer=self.tool)


SCORERS: dict[str, Callable[[], SentenceScorer]] = {
    "exact": lambda: Answers(Exact()),
    "vqa": lambda: Answers(VQAAccuracy()),
    "captions": Captions,
}
"""The scorers by the value of ``--score``."""

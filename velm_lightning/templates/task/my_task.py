"""MyTask: ranks answers and is scored by the reciprocal rank of the reference among the three best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from velm_lightning.encoders import TextEncoder
from velm_lightning.metrics.signature import signature_of
from velm_lightning.tasks.base import HeadTask
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import mean, prediction_of
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, Prediction, Tokens

BETWEEN = " | "


class MyTask(HeadTask):
    """Predicts the three best answers of the vocabulary from the pooled fused states.

    A row's ``prediction`` holds all that its score depends on, so ``score`` computes it from the row only, and
    ``velm verify`` can compute it again from the stored file.

    Args:
        smoothing: share of the target that is spread over all answers (label smoothing).
    """

    def __init__(self, smoothing: float = 0.1) -> None:
        super().__init__()
        self.smoothing = smoothing

    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """Create the head; sizes that depend on the data are known here, not in ``__init__``."""
        self.answers = vocabulary.answers
        self.head = nn.Linear(text_encoder.dim, len(self.answers))

    def vectors(self, model: FusionProtocol, states: Tokens, batch: Batch) -> Tensor:
        """Return the pooled states (B, D)."""
        return model.pool(states)

    def head_logits(self, vectors: Tensor) -> Tensor:
        """Return the logits (B, A) over the answers."""
        logits: Tensor = self.head(vectors)
        return logits

    def loss_from_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy against the most frequent answer of the annotators."""
        return F.cross_entropy(logits, batch.answers.argmax(-1), label_smoothing=self.smoothing)

    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """Return one row per sample; ``score`` fills in the scores."""
        best = self.top_answers(model, batch, 3)
        return [
            prediction_of(batch, i, BETWEEN.join(answer for answer, _ in answers), confidence=answers[0][1])
            for i, answers in enumerate(best)
        ]

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return the rows with 1 / rank of the first reference among the predicted answers, 0 if there is none."""
        return [row._replace(score=_reciprocal_rank(row)) for row in rows]

    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute the mean reciprocal rank, which is the headline, and the accuracy of the best answer."""
        best = [float(row.prediction.split(BETWEEN)[0] in row.references) for row in rows if row.references]
        return {"score": mean(row.score for row in rows), "accuracy": mean(best)}

    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """Return the ``count`` best answers per sample with their probabilities, best first."""
        probabilities = self.head_logits(self.vectors(model, model(batch), batch)).softmax(-1)
        best = probabilities.topk(min(count, len(self.answers)), dim=-1)
        return [
            [(self.answers[index], value) for index, value in zip(indices, values, strict=True)]
            for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """Return the batch with ``answers``, one per sample, as its targets."""
        index = torch.tensor([self.answers.index(answer.split(BETWEEN)[0]) for answer in answers])
        return batch._replace(answers=F.one_hot(index, len(self.answers)).to(batch.answers))

    def signature(self, split: str) -> str:
        """Return the definition of the headline metric on ``split``."""
        return signature_of("reciprocal rank", scorer="among-3", split=split)


def _reciprocal_rank(row: Prediction) -> float:
    if not row.references:
        return math.nan
    ranks = [rank for rank, answer in enumerate(row.prediction.split(BETWEEN), 1) if answer in row.references]
    return 1 / ranks[0] if ranks else 0.0

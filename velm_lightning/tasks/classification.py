"""Classification: one answer, label or truth value out of the answers of the training split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.errors import within
from velm_lightning.metrics.classification import macro_f1
from velm_lightning.tasks.base import HeadTask
from velm_lightning.tasks.consistency import TableMetric
from velm_lightning.tasks.floors import Floors, training_answers
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.tasks.rows import mean, prediction_of
from velm_lightning.tasks.scorers import Exact, Scorer
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, InputError, Prediction, Sample, Tokens


class Classification(HeadTask):
    """Predicts one of the vocabulary's answers from the pooled fused states.

    A sample whose answers are all outside of the vocabulary contributes no gradient, and is scored like any other.

    Args:
        loss: ``softmax``: cross-entropy against the answer weights, normalised to sum to 1; ``sigmoid``: binary
            cross-entropy against each weight, summed over answers (Teney et al. 2018).
        balance: exponent of the class weights: 0 weights all answers equally, 1 by the inverse of their frequency. The
            mean weight over the training answers is 1.
        focal: exponent of focal loss (Lin et al. 2017), at least 0; 0 is plain cross-entropy. Below 1 the factor has an
            infinite gradient if the model is certain; the loss then has the gradient of its limit, 0.
        dropout: dropout probability in the head.
        scorer: scores a prediction against its references.
        extra: additional metrics of the whole table, such as ``Consistency``.

    Raises:
        InputError: ``balance`` or ``focal`` is negative or not finite, or ``dropout`` is not between 0 and 1.

    Example:
        >>> import velm_lightning as velm
        >>> data = velm.MultimodalData(velm.ShapeScenes(train=8, val=4, test=4, size=16))
        >>> model = velm.LateFusion(image_encoder=velm.SmallCNN(16), text_encoder=velm.TransformerTextEncoder(),
        ...                         task=velm.Classification(loss="sigmoid"), vocabulary=data.vocabulary)
        >>> model.task.answers == data.vocabulary.answers
        True
    """

    answer_weight: Tensor

    def __init__(
        self,
        loss: Literal["softmax", "sigmoid"] = "softmax",
        balance: float = 0.0,
        focal: float = 0.0,
        dropout: float = 0.1,
        scorer: Scorer | None = None,
        extra: Sequence[TableMetric] = (),
    ) -> None:
        super().__init__()
        within(0, math.inf, "task", balance=balance, focal=focal)
        within(0, 1, "task", dropout=dropout)
        self.kind, self.balance, self.focal, self.dropout = loss, balance, focal, dropout
        self.scorer, self.extra = scorer or Exact(), tuple(extra)

    @override
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """Create the head and the class weights.

        Raises:
            InputError: the vocabulary has no answers.
        """
        if not vocabulary.answers:
            raise InputError("classification needs answers, and the training split has none: its targets are sentences")
        self.answers, dim = vocabulary.answers, text_encoder.dim
        self.head = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.LayerNorm(2 * dim), nn.Dropout(self.dropout),
            nn.Linear(2 * dim, len(self.answers)),
        )  # fmt: skip
        counts = torch.tensor(vocabulary.counts or [1.0] * len(self.answers)).clamp(min=1e-6)
        weight = counts**-self.balance
        self.register_buffer("answer_weight", weight * counts.sum() / (weight * counts).sum(), persistent=False)

    @override
    def vectors(self, model: FusionProtocol, states: Tokens, batch: Batch) -> Tensor:
        """Return the pooled states (B, D)."""
        return model.pool(states)

    @override
    def head_logits(self, vectors: Tensor) -> Tensor:
        """Return the logits (B, A) over the answers."""
        logits: Tensor = self.head(vectors)
        return logits

    def logits(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the logits (B, A) of a batch over the answers."""
        return self.head_logits(self.vectors(model, model(batch), batch))

    def losses(self, logits: Tensor, answers: Tensor) -> Tensor:
        """Return the loss (B,) of each sample, given logits and answer weights (B, A)."""
        if self.kind == "sigmoid":
            terms = F.binary_cross_entropy_with_logits(logits, answers, reduction="none")
            if self.focal:
                likely = logits.sigmoid()
                terms = terms * _power((answers - likely).abs(), self.focal)
            known = (answers.sum(-1, keepdim=True) > 0).to(terms.dtype)
            return (terms * self.answer_weight * known).sum(-1)
        target = answers / answers.sum(-1, keepdim=True).clamp(min=1e-9)
        log_likely = logits.log_softmax(-1)
        terms = -target * log_likely * self.answer_weight
        return (terms * _power(1 - log_likely.exp(), self.focal) if self.focal else terms).sum(-1)

    @override
    def loss_from_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        return self.losses(logits, batch.answers).mean()

    @override
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        logits = self.logits(model, batch).float()
        confidence, best = self._likely(logits).max(-1)
        known = batch.answers.sum(-1) > 0
        losses = self.losses(logits, batch.answers).where(known, math.nan)
        rows = []
        values = zip(best.tolist(), confidence.tolist(), losses.tolist(), strict=True)
        for i, (index, probability, loss) in enumerate(values):
            answer = self.answers[index]
            score = self._score(answer, batch.references[i])
            rows.append(prediction_of(batch, i, answer, score=score, confidence=probability, loss=loss))
        return rows

    @override
    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Return the rows with missing scores filled in."""
        return [
            row._replace(score=self._score(row.prediction, row.references)) if math.isnan(row.score) else row
            for row in rows
        ]

    def _score(self, prediction: str, references: Sequence[str]) -> float:
        return self.scorer(prediction, references) if references else math.nan

    @override
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute the mean score, macro-F1 if every sample has one label, and the mean loss.

        Samples without references are excluded.
        """
        score = mean(row.score for row in rows)
        metrics = {"score": score, self.scorer.name: score, "loss": mean(row.loss for row in rows)}
        labelled = [row for row in rows if row.references]
        if labelled and all(len(row.references) == 1 for row in labelled):
            labels = [row.references[0] for row in labelled]
            metrics["macro_f1"] = macro_f1([row.prediction for row in labelled], labels)
        return metrics | {metric.name: metric(rows) for metric in self.extra}

    @override
    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        """Add the expected score of answers drawn by their training frequency."""
        floors = super().floors(rows, training)
        if floors:
            references = [row.references for row in rows if row.references]
            floors["prior"] = {"score": mean(self.scorer.expected(training_answers(training), references))}
        return floors

    @override
    def producible(self, texts: Sequence[str], vocabulary: Vocabulary) -> list[str]:
        """Return each text that is an answer of the vocabulary, and an empty string for any other."""
        return [text if text in vocabulary.answer_index else "" for text in texts]

    @override
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        best = self._likely(self.logits(model, batch)).topk(min(count, len(self.answers)), dim=-1)
        return [
            [(self.answers[index], value) for index, value in zip(indices, values, strict=True)]
            for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    @override
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        wanted = torch.zeros(batch.size, len(self.answers), device=batch.answers.device)
        for row, answer in enumerate(answers):
            wanted[row, self.answers.index(answer)] = 1.0
        return batch._replace(answers=wanted)

    def _likely(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.kind == "sigmoid" else logits.softmax(-1)

    @override
    def signature(self, split: str) -> str:
        return self.scorer.signature(split)


def _power(base: Tensor, exponent: float) -> Tensor:
    """Return ``base`` (at least 0) to the power of ``exponent`` (above 0), with a gradient of 0 at a base of 0.

    The gradient of a power below 1 is infinite at 0, and a focal loss multiplies it by a cross-entropy of 0, which
    is NaN although the limit of the product is 0.
    """
    positive = base >= torch.finfo(base.dtype).tiny
    return torch.where(positive, torch.where(positive, base, 1.0) ** exponent, 0.0)

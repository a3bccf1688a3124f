"""What a task is: a head, a loss, predictions as rows, and figures from rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from velm_lightning.encoders.base import TextEncoder
from velm_lightning.io.configurable import Configurable
from velm_lightning.tasks.floors import Floors, majority, training_answers
from velm_lightning.tasks.protocol import FusionProtocol
from velm_lightning.text.vocabulary import Vocabulary
from velm_lightning.types import Batch, Prediction, Sample, Tokens


class Task(Configurable, nn.Module, ABC):
    """What is asked of a fusion; it knows the fusion as a ``FusionProtocol`` only."""

    @abstractmethod
    def build(self, vocabulary: Vocabulary, text_encoder: TextEncoder) -> None:
        """Make the head; called once, by the fusion that the task is given to."""

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Look at the training samples before a training starts; by default nothing is needed of them."""

    @abstractmethod
    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """Return the scalar training loss of a batch."""

    def num_items(self, batch: Batch) -> int | Tensor:
        """Return the number of items that ``loss`` is a mean over; by default the samples of the batch.

        It is asked for after the loss of the same batch. If an optimiser step has several micro-batches or processes,
        it is the weight of this one's loss, so that the step learns from the mean over all its items.
        """
        return batch.size

    def forward_once(self, model: FusionProtocol, batch: Batch) -> None:
        """Let ``model`` read a batch once, up to the logits: what inference costs is counted on it.

        By default this is ``loss`` in evaluation mode, which reads what there is to read, head included.
        """
        self.loss(model, batch)

    @abstractmethod
    def predict(self, model: FusionProtocol, batch: Batch) -> list[Prediction]:
        """Return one scored row a sample."""

    def score(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Fill in scores that depend on the whole table; by default they are there already."""
        return list(rows)

    def aggregate(self, model: FusionProtocol, rows: Sequence[Prediction]) -> list[Prediction]:
        """Turn the rows that all processes predicted into the table of an evaluation, the same on each of them."""
        return self.score(rows)

    @abstractmethod
    def compute_metrics(self, rows: Sequence[Prediction]) -> dict[str, float]:
        """Compute every reported figure from rows; ``score`` is the headline, higher is better."""

    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        """Return what the rows' samples score without a model; nothing by default.

        Args:
            rows: of an evaluation, or without predictions; see ``floors.rows_of``.
            training: the samples of the training split.
        """
        return {}

    def producible(self, texts: Sequence[str], vocabulary: Vocabulary) -> list[str] | None:
        """Return what comes out if a model that makes no mistake answers with ``texts``; None if answers are no texts.

        It may be called before ``build``.
        """
        return None

    @abstractmethod
    def top_answers(self, model: FusionProtocol, batch: Batch, count: int) -> list[list[tuple[str, float]]]:
        """Return for each sample the ``count`` best answers with their probabilities, best first."""

    @abstractmethod
    def with_targets(self, batch: Batch, answers: Sequence[str]) -> Batch:
        """Return the batch as if ``answers``, one a sample, were its targets."""

    def evidence(self, model: FusionProtocol, batch: Batch, answers: Sequence[str]) -> Tensor:
        """Return how strongly the model holds ``answers``, one a sample: a scalar whose slope shows the evidence."""
        return -self.loss(model, self.with_targets(batch, answers))

    @abstractmethod
    def signature(self, split: str) -> str:
        """Say what the headline figure is; ``split`` names the samples. See ``metrics.signature_of``."""


class HeadTask(Task):
    """A task whose answers are read off single states by one head, so that another model's can be set beside them."""

    @abstractmethod
    def vectors(self, model: FusionProtocol, states: Tokens, batch: Batch) -> Tensor:
        """Pick the states (M, D) off which answers are read, out of a batch's fused states."""

    @abstractmethod
    def head_logits(self, vectors: Tensor) -> Tensor:
        """Turn states (M, D) into logits (M, C)."""

    @abstractmethod
    def loss_from_logits(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch's logits (M, C)."""

    def floors(self, rows: Sequence[Prediction], training: Sequence[Sample]) -> Floors:
        """See ``Task.floors``: the most frequent training target, given for every sample."""
        answers = training_answers(training)
        scored = any(row.references for row in rows)
        return {"majority": majority(self, rows, answers)} if answers and scored else {}

    def loss(self, model: FusionProtocol, batch: Batch) -> Tensor:
        """See ``Task.loss``."""
        return self.loss_from_logits(self.head_logits(self.vectors(model, model(batch), batch)), batch)
